#!/usr/bin/env bash
# What `./dev demo` shows: three nodes on this machine, none with room for the whole model, answer as
# one; a node is killed while it helps, then the node that is being talked to.
# Usage: demo.sh BIN_FOLDER MODEL
set -euo pipefail
bin=$1 model=$2
place=$(mktemp -d)
declare -A node
cleanup() {
  for p in "${node[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$place"
}
trap cleanup EXIT
say() { printf '\n== %s\n' "$*"; }

say "Three nodes, with nothing but a cluster file and the model. None has room for all experts."
"$bin/coel-node" keygen "$place/cluster.toml" --name demo >/dev/null
start() { # NODE
  "$bin/coel-node" --cluster "$place/cluster.toml" --name "node$1" --state "$place/state$1" --model "$model" \
    --listen "127.0.0.$1" --peer 127.0.0.1 --peer 127.0.0.2 --peer 127.0.0.3 --link-port 7423 --hello-port 7424 \
    --endpoint "ipc://$place/node$1.sock" --threads 1 --ram "${COEL_DEMO_RAM:-11MB}" --kv 4MB --rows 128 --quiet 2>"$place/node$1.log" &
  node[$1]=$!
}
await() { # NODE
  for _ in $(seq 200); do grep -qs event=ready "$place/node$1.log" && return; sleep 0.1; done
  cat "$place/node$1.log"
  exit 1
}
crash() { # NODE AFTER_SECONDS
  local victim=${node[$1]}
  disown "$victim"   # the shell does not report its end
  (sleep "$2"; kill -9 "$victim") &
  unset "node[$1]"
}
for i in 1 2 3; do start $i; done
for i in 1 2 3; do await $i; done
export COEL_ENDPOINT="ipc://$place/node1.sock,ipc://$place/node2.sock,ipc://$place/node3.sock"
for _ in $(seq 100); do   # until all three know each other and nothing is on its way
  "$bin/coel-inspect" -e placement >"$place/map" 2>/dev/null || true
  [ "$(grep -cE '^node[123] ' "$place/map")" = 3 ] && break
  sleep 0.1
done
sleep 1.5
"$bin/coel-inspect" -e nodes -e placement

generate() { "$bin/coel" generate --temperature 0.6 --seed 7 --max-tokens "$1" "${@:2}"; }
story="Once upon a time, there was a little girl named Lily. She loved to"

say "An answer of all three"
echo "> $story"
generate 80 --stats "$story"

say "Node 3 is killed (kill -9) in the middle of an answer; its experts are asked for elsewhere"
echo "> $story"
crash 3 0.5
generate 900 --stats --ignore-end "$story" | fold -s -w 100 | tail -4

say "Node 3 is back. Node 1, which this program talks to, is killed in the middle of an answer; node 2 goes on with it"
start 3
await 3
sleep 2
echo "> $story"
crash 1 0.5
generate 900 --stats --ignore-end "$story" | fold -s -w 100 | tail -4

say "What is left"
COEL_ENDPOINT="ipc://$place/node2.sock" "$bin/coel" status
for i in 2 3; do
  kill -TERM "${node[$i]}"
  wait "${node[$i]}" || true
  unset "node[$i]"
done
echo "The last nodes drained and stopped."
