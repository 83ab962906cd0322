#!/usr/bin/env bash
# Checks and measures the GPU code on a machine with a card, in under eight minutes.
#   tools/gpu_check.sh pack [DIR]   here: builds the programs and puts them with their libraries in DIR,
#                                   and DIR in DIR.tar.gz
#   DIR/gpu_check.sh                there: runs them; needs a driver only (and compute-sanitizer and
#                                   cuBLAS where they are)
# Exit code: 0 if all checks passed, 1 if not, 2 if there is no card. The table is last.
set -uo pipefail

programs="test_gpu test_card coel-gpu-bench coel-bench"

# What a system of its own has always; carried apart, for one that is older than this.
system_libs='/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux[^/]*)\.so'

pack() {
  cd "$(dirname "$0")/.." || exit 1
  local to=${1:-build/gpu-check}
  # Programs look for libraries beside themselves, and for those of libraries too (rpath, not runpath)
  cmake -S . -B build/cuda -G Ninja -DCMAKE_BUILD_TYPE=Release -DCOEL_GPU=ON \
    '-DCMAKE_BUILD_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >/dev/null || exit 1
  # shellcheck disable=SC2086
  cmake --build build/cuda --target $programs || exit 1
  rm -rf "$to"
  mkdir -p "$to/lib/system" "$to/golden"
  local p
  for p in $programs; do
    cp "build/cuda/$p" "$to/" 2>/dev/null || cp "build/cuda/tests/$p" "$to/" || exit 1
    strip "$to/$p"
  done
  cp tests/golden/data/nano-* models/coel-tiny-moe/*.gguf "$to/golden/" || exit 1
  cp "$0" "$to/gpu_check.sh"
  (
    cd "$to" || exit 1
    # shellcheck disable=SC2086
    ldd $programs | awk '$3 ~ /^\// {print $3} $1 ~ /^\// && $2 ~ /^\(0x/ {print $1}' | sort -u |
      while read -r lib; do
        case $lib in "$PWD"/*|*/libcuda.so*) continue ;; esac
        if [[ $lib =~ $system_libs ]]; then cp -L "$lib" lib/system/; else cp -L "$lib" lib/; fi
      done
    # Every library that is needed must be here, and nothing must come from elsewhere
    lost=$(LD_LIBRARY_PATH=lib/system ldd $programs |
      awk '/not found/ || ($3 ~ /^\// && $3 !~ /\/lib\/system\//) {print $1, $2, $3}' | grep -v "$PWD" | sort -u)
    [ -z "$lost" ] || { echo "not packed: $lost"; exit 1; }
  ) || exit 1
  tar -C "$(dirname "$to")" -czf "$to.tar.gz" "$(basename "$to")" || exit 1
  du -sh "$to" "$to.tar.gz"
}

# What a failed step said: its first complaint, else its last line.
reason() {
  local said
  said=$(grep -v 'worst error' "$1" |
    grep -m1 -iE 'error|failed|refus|lost|invalid|hazard|cannot|no usable|terminate' || tail -n 1 "$1")
  [ -n "$said" ] || said="said nothing"
  printf '  %s\n' "$(sed 's/^[[:space:]=]*//' <<<"$said" | cut -c1-150)"
}

# step NAME SECONDS COMMAND...: runs it, keeps its output, notes how it went
step() {
  local name=$1 limit=$2 start=$SECONDS rc
  shift 2
  local left=$((deadline - SECONDS))
  [ $left -lt $limit ] && limit=$left
  [ $limit -lt 5 ] && { printf '%-22s no time left\n' "$name" >>"$out/summary.txt"; failed=1; return; }
  timeout -k 5 "$limit" "$@" >"$out/$name.txt" 2>&1
  rc=$?
  local verdict=ok
  [ $rc = 124 ] || [ $rc = 137 ] && verdict="ran past $limit s"
  [ $rc != 0 ] && [ $rc != 124 ] && [ $rc != 137 ] && verdict="FAILED, exit code $rc"
  printf '%-22s %-24s %4d s\n' "$name" "$verdict" $((SECONDS - start)) >>"$out/summary.txt"
  if [ $rc != 0 ]; then
    failed=1
    reason "$out/$name.txt" >>"$out/summary.txt"
    echo "== $name: $verdict"
    grep -v 'worst error' "$out/$name.txt" | tail -n 15
  fi
}

# The folder of a library that the system may not know: beside a toolkit, or among Python's packages.
folder_of() {
  timeout 5 find -L /usr/local/cuda*/lib64 /usr/local/cuda*/targets /opt /usr/lib /usr/local/lib \
    -maxdepth 9 -name "$1" -printf '%h\n' 2>/dev/null | head -n 1
}

# The limits of the steps add up to 470 s: a step that hangs takes no other's time.
check() {
  cd "$(dirname "$0")" || exit 1
  [ -x ./test_gpu ] || { echo "pack first: tools/gpu_check.sh pack"; exit 2; }
  out=${OUT:-$PWD/out}
  mkdir -p "$out"
  : >"$out/summary.txt"
  failed=0
  deadline=475
  export COEL_GOLDEN_DIR=$PWD/golden COEL_GPU_TESTS=card
  local on=() # how programs are started: by the system's loader, unless its C library is older
  ./test_gpu --version >/dev/null 2>&1 ||
    on=("$PWD/lib/system/ld-linux-x86-64.so.2" --library-path "$PWD/lib:$PWD/lib/system:${LD_LIBRARY_PATH:-}")
  if ! timeout 60 ${on[@]+"${on[@]}"} ./coel-gpu-bench cards; then
    echo "No card was found: nothing was checked or measured."
    exit 2
  fi
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
  local cublas
  cublas=$(folder_of 'libcublas.so.1[23]')
  [ -n "$cublas" ] && export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$cublas

  step tests 70 env ${on[@]+"${on[@]}"} ./test_gpu --color_output=no --log_level=message --report_level=short
  grep -q 'skipped on a card' "$out/tests.txt" && { echo "the tests found no card"; failed=1; }
  local nodes=--run_test=card_node_tests/a_card_with_all_half_or_none_of_the_experts_says_the_same
  nodes+=,parts_of_a_card_are_cards_too
  step nodes 30 env ${on[@]+"${on[@]}"} ./test_card --color_output=no --log_level=message "$nodes"
  local sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -n "$sanitizer" ]; then
    local small=(--run_test=gpu_experts,gpu_chosen,gpu_attention,gpu_device
      '--run_test=!gpu_experts/a_card_agrees_at_the_sizes_of_models')
    step memcheck 40 "$sanitizer" --tool memcheck --report-api-errors no --error-exitcode 9 \
      ${on[@]+"${on[@]}"} ./test_gpu --color_output=no "${small[@]}"
    step racecheck 40 "$sanitizer" --tool racecheck --error-exitcode 9 \
      ${on[@]+"${on[@]}"} ./test_gpu --color_output=no "${small[@]}"
  else
    echo "compute-sanitizer is not here: skipped" >>"$out/summary.txt"
  fi
  step kernels 35 env ${on[@]+"${on[@]}"} ./coel-gpu-bench 0
  local bench=(env ${on[@]+"${on[@]}"} ./coel-bench --random "${COEL_SHAPE:-qwen1.5-moe-a2.7b}")
  step make 45 "${bench[@]}" --make-only
  step model 40 env ${on[@]+"${on[@]}"} ./coel-gpu-bench 0 "${COEL_SHAPE:-qwen1.5-moe-a2.7b}"
  # a node with a card: shares of its experts there, the others on the CPU beside it; and no card
  local share
  for share in 0.5 0.25 0; do
    step "share_$share" 25 "${bench[@]}" --device gpu --card-share $share -p 512 -n 32 -r 2 --draw
  done
  step cpu_only 25 "${bench[@]}" -p 512 -n 32 -r 2 --draw
  step sessions_1 20 "${bench[@]}" --device gpu -p 512 -n 64 -r 2
  step sessions_16 25 "${bench[@]}" --device gpu -p 0 -n 32 -r 2 --sessions 16
  step sessions_64 25 "${bench[@]}" --device gpu -p 0 -n 32 -r 2 --sessions 64

  echo
  cat "$out/kernels.txt" 2>/dev/null
  sed -n '/plain loop/,$p' "$out/model.txt" 2>/dev/null
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
  *) sed -n '2,8p' "$0"; exit 2 ;;
esac
