#!/usr/bin/env bash
# Checks and measures the GPU code on a machine with a card, in under eight minutes.
#   tools/gpu_check.sh pack [DIR]   here: builds the programs and puts them with their libraries in DIR
#   DIR/gpu_check.sh                there: runs them; needs a driver only (and compute-sanitizer and
#                                   cuBLAS where they are)
# Exit code: 0 if all checks passed. The table is last.
set -uo pipefail

pack() {
  cd "$(dirname "$0")/.." || exit 1
  local to=${1:-build/gpu-check}
  cmake -S . -B build/cuda -G Ninja -DCMAKE_BUILD_TYPE=Release -DCOEL_GPU=ON >/dev/null || exit 1
  cmake --build build/cuda --target test_gpu test_card coel-gpu-bench coel-bench || exit 1
  mkdir -p "$to/lib" "$to/golden"
  cp build/cuda/tests/test_gpu build/cuda/tests/test_card build/cuda/coel-gpu-bench build/cuda/coel-bench "$to/"
  strip "$to/test_gpu" "$to/test_card" "$to/coel-gpu-bench" "$to/coel-bench"
  # all but the C library and the driver: those are the other machine's own
  ldd "$to"/test_gpu "$to"/test_card "$to"/coel-gpu-bench "$to"/coel-bench | awk '$3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux[^/]*|libcuda)\.so' |
    xargs -I{} cp -L {} "$to/lib/"
  cp tests/golden/data/* "$to/golden/" 2>/dev/null
  cp "$0" "$to/gpu_check.sh"
  du -sh "$to"
}

# step NAME SECONDS COMMAND...: runs it, keeps its output, notes how it went
step() {
  local name=$1 limit=$2 start=$SECONDS rc
  shift 2
  local left=$((deadline - SECONDS))
  [ $left -lt $limit ] && limit=$left
  [ $limit -lt 5 ] && { printf '%-22s no time left\n' "$name" >>"$out/summary.txt"; failed=1; return; }
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1
  rc=$?
  local verdict=ok
  [ $rc = 124 ] && verdict="ran past $limit s"
  [ $rc != 0 ] && [ $rc != 124 ] && verdict="FAILED, exit code $rc"
  printf '%-22s %-24s %4d s\n' "$name" "$verdict" $((SECONDS - start)) >>"$out/summary.txt"
  if [ $rc != 0 ]; then
    failed=1
    tail -n 15 "$out/$name.txt"
  fi
}

check() {
  cd "$(dirname "$0")" || exit 1
  out=${OUT:-$PWD/out}
  mkdir -p "$out"
  : >"$out/summary.txt"
  failed=0
  deadline=470
  export LD_LIBRARY_PATH=$PWD/lib:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}
  export COEL_GOLDEN_DIR=$PWD/golden
  [ -x ./test_gpu ] || { echo "pack first: tools/gpu_check.sh pack"; exit 2; }
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

  step tests 110 ./test_gpu --log_level=message --report_level=short
  grep -q 'skipped on a card' "$out/tests.txt" && { echo "no card was found"; failed=1; }
  step node 60 ./test_card --log_level=message --run_test=card_node_tests/a_card_with_all_half_or_none_of_the_experts_says_the_same
  local sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -n "$sanitizer" ]; then
    local small=--run_test=gpu_experts,gpu_chosen,gpu_attention,gpu_device
    step memcheck 60 "$sanitizer" --tool memcheck --report-api-errors no --error-exitcode 9 ./test_gpu $small
    step racecheck 60 "$sanitizer" --tool racecheck --error-exitcode 9 ./test_gpu $small
  else
    echo "compute-sanitizer is not here: skipped" >>"$out/summary.txt"
  fi
  step kernels 45 ./coel-gpu-bench 0
  local shape=${COEL_SHAPE:-qwen1.5-moe-a2.7b}
  step model 100 ./coel-gpu-bench 0 "$shape"
  # a node with a card: shares of its experts there, the others on the CPU beside it; and no card
  local share
  for share in 0.25 0.5 0; do
    step "share_$share" 60 ./coel-bench --random "$shape" --device gpu --card-share $share -p 512 -n 32 -r 2 --draw
  done
  step cpu_only 60 ./coel-bench --random "$shape" -p 512 -n 32 -r 2 --draw
  step sessions_1 40 ./coel-bench --random "$shape" --device gpu -p 512 -n 64 -r 2
  step sessions_16 40 ./coel-bench --random "$shape" --device gpu -p 0 -n 32 -r 2 --sessions 16
  step sessions_64 40 ./coel-bench --random "$shape" --device gpu -p 0 -n 32 -r 2 --sessions 64

  echo
  cat "$out/kernels.txt"
  sed -n '/plain loop/,$p' "$out/model.txt"
  cat "$out/summary.txt"
  echo
  printf '%-14s %-14s %12s\n' run test tokens/s
  local n
  for n in sessions_1 sessions_16 sessions_64 share_0.5 share_0.25 share_0 cpu_only; do
    awk -v n="$n" '$2 == "actors" { printf "%-14s %-14s %12s\n", n, $1, $3 }' "$out/$n.txt" 2>/dev/null
  done
  exit $failed
}

case "${1:-check}" in
  pack) shift; pack "$@" ;;
  check) check ;;
  *) sed -n '2,7p' "$0"; exit 2 ;;
esac
