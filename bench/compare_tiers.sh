#!/bin/sh
# Decoding with less memory than the model takes, side by side with llama.cpp reading it by mmap:
# same file, same threads, each in a control group of the same size, one run of each in turn. A run
# of ours with everything in memory, outside the limit, begins each round: what the limit costs.
# Needs root (control groups), and a llama-bench built with -DGGML_CPU_REPACK=OFF: else llama.cpp
# copies the weights into another layout and is killed at the limit. See docs/tiers.md.
set -eu

usage() {
  cat <<END
usage: $0 LLAMA_BENCH MODEL.gguf [options]
  -l B   memory of the group, in bytes, such as 5e9   (default 5000000000)
  -m B   of it what coel-node is told, --ram          (default: the same less 64 MiB)
  -t N   threads                                      (default 2)
  -n N   decoded tokens                               (default 128)
  -r N   rounds                                       (default 5)
  -a KB  read-ahead of the file's disk while llama.cpp opens it (default: as it is). It is a
         setting of the whole machine, so it is put back three seconds after each start.
  -f     also our own run with everything in memory
  -c F   coel-bench                                   (default build/release/coel-bench)
END
  exit "$1"
}

[ "${1:-}" = -h ] || [ "${1:-}" = --help ] && usage 0
[ $# -ge 2 ] || usage 2
llama=$1 model=$2
shift 2
here=$(dirname "$0")
limit=5000000000 ram='' threads=2 answer=128 rounds=5 ahead='' full='' coel=$here/../build/release/coel-bench
while getopts l:m:t:n:r:a:fc: option; do
  case $option in
    l) limit=$(printf %.0f "$OPTARG") ;;
    m) ram=$(printf %.0f "$OPTARG") ;;
    t) threads=$OPTARG ;;
    n) answer=$OPTARG ;;
    r) rounds=$OPTARG ;;
    a) ahead=$OPTARG ;;
    f) full=yes ;;
    c) coel=$OPTARG ;;
    *) usage 2 ;;
  esac
done
[ -n "$ram" ] || ram=$((limit - 67108864))
for file in "$llama" "$coel"; do
  [ -x "$file" ] || { echo "$0: $file is not a program" >&2; exit 2; }
done
[ -r "$model" ] || { echo "$0: cannot read $model" >&2; exit 2; }

queue=$(lsblk -no PKNAME,KNAME "$(df --output=source "$model" | tail -1)" | awk '{print $1==""?$NF:$1; exit}')
knob=/sys/block/$queue/queue/read_ahead_kb
before=$(cat "$knob" 2>/dev/null || echo '')
put_back() { [ -z "$ahead" ] || echo "$before" >"$knob"; }
out=$(mktemp -d)
trap 'put_back; rm -rf "$out"' EXIT
trap 'exit 130' INT TERM
[ -z "$ahead" ] || [ -w "$knob" ] || { echo "$0: cannot set $knob" >&2; exit 2; }

# Pages that an earlier run left belong to another group and would be found without a read.
forget() { dd if="$model" iflag=nocache count=0 status=none; }

echo "machine: $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), read-ahead ${ahead:-$before} KiB"
round=1
while [ "$round" -le "$rounds" ]; do
  echo "round $round of $rounds" >&2
  if [ -n "$full" ]; then
    forget
    "$coel" "$model" -t "$threads" -p 0 -n "$answer" -r 1 --draw --json >"$out/full.$round"
  fi
  forget
  "$here/limited.sh" "$limit" "$coel" "$model" --ram "$ram" -t "$threads" -p 0 -n "$answer" -r 1 --draw \
    --json >"$out/coel.$round" 2>"$out/coel.$round.err" || { cat "$out/coel.$round.err" >&2; exit 1; }
  forget
  if [ -n "$ahead" ]; then
    echo "$ahead" >"$knob"
    (sleep 3; put_back) &
  fi
  "$here/limited.sh" "$limit" "$llama" -m "$model" -t "$threads" -p 0 -n "$answer" -r 1 -mmp 1 \
    -o json >"$out/llama.$round" 2>"$out/llama.$round.err" || { cat "$out/llama.$round.err" >&2; exit 1; }
  wait
  round=$((round + 1))
done
python3 "$here/compare_tiers.py" "$out" "$rounds"
