#!/usr/bin/env bash
# run.sh NAME BUILD_FOLDER [libFuzzer options]: a short, repeatable run over generated and committed seeds.
set -euo pipefail
name=$1 build=$(cd "$2" && pwd)
shift 2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/coel-fuzz-$name.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/corpus" "$build/findings"
python3 "$here/make_seeds.py" "$name" "$work/corpus"
[ ! -d "$here/seeds/$name" ] || cp -r "$here/seeds/$name/." "$work/corpus/"
dictionary=()
[ ! -f "$here/seeds/$name.dict" ] || dictionary=("-dict=$here/seeds/$name.dict")
[ $# -gt 0 ] || set -- -runs=20000 -max_total_time=10
cd "$work"
export TMPDIR=$work
"$build/${name}_fuzz" "$work/corpus" -seed=1 -max_len=65536 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512 \
  -print_final_stats=1 -artifact_prefix="$build/findings/$name-" "${dictionary[@]}" "$@"
