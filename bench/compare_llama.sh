#!/bin/sh
# Prompt and decode speed side by side with llama.cpp: same file, same threads, one run of each in
# turn, so that whatever else the machine does falls on both. Prints medians and their ratio.
set -eu

usage() {
  cat <<END
usage: $0 LLAMA_BENCH MODEL.gguf [options] [-- options for llama-bench]
  -t N   threads                                  (default: one per core)
  -p N   prompt tokens                            (default 512)
  -n N   decoded tokens                           (default 64)
  -r N   rounds: one run of each engine a round   (default 5)
  -c F   coel-bench                               (default build/release/coel-bench)
  -w S   how coel runs: actors or plain           (default actors)
END
  exit "$1"
}

[ "${1:-}" = -h ] || [ "${1:-}" = --help ] && usage 0
[ $# -ge 2 ] || usage 2
llama=$1 model=$2
shift 2
threads=$(nproc) prompt=512 answer=64 rounds=5 way=actors
coel=$(dirname "$0")/../build/release/coel-bench
while getopts t:p:n:r:c:w: option; do
  case $option in
    t) threads=$OPTARG ;;
    p) prompt=$OPTARG ;;
    n) answer=$OPTARG ;;
    r) rounds=$OPTARG ;;
    c) coel=$OPTARG ;;
    w) way=$OPTARG ;;
    *) usage 2 ;;
  esac
done
shift $((OPTIND - 1))
for file in "$llama" "$coel"; do
  [ -x "$file" ] || { echo "$0: $file is not a program" >&2; exit 2; }
done
[ -r "$model" ] || { echo "$0: cannot read $model" >&2; exit 2; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT TERM
echo "machine: $(uname -m), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
round=1
while [ "$round" -le "$rounds" ]; do
  echo "round $round of $rounds" >&2
  "$coel" "$model" -t "$threads" -p "$prompt" -n "$answer" -r 1 --through "$way" --json >"$out/coel.$round"
  "$llama" -m "$model" -t "$threads" -p "$prompt" -n "$answer" -r 1 -o json "$@" >"$out/llama.$round" 2>"$out/log" ||
    { cat "$out/log" >&2; exit 1; }
  round=$((round + 1))
done
python3 "$(dirname "$0")/compare_llama.py" "$out" "$rounds"
