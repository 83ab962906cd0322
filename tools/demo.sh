#!/usr/bin/env bash
# What `./dev demo` shows of a running node. Usage: demo.sh BIN_FOLDER, with COEL_ENDPOINT set.
set -euo pipefail
bin=$1
prompts=("Once upon a time, there was a little girl named Lily. She loved to"
         "Tom and Mia were playing in the park. They saw a big"
         "One day, a small bird could not fly. His mother said,")
for prompt in "${prompts[@]}"; do
  echo "> $prompt"
  "$bin/coel" generate --stats --temperature 0.6 --seed 7 --max-tokens 80 "$prompt"
  echo
done
"$bin/coel" status
if [ -x "$bin/coel-inspect" ]; then "$bin/coel-inspect" -e experts; fi
