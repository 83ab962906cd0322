#!/usr/bin/env bash
# What a token was predicted to take against what it takes, over several clusters on one machine.
#   compare_predicted.sh MODEL.gguf [CONFIGURATION...]
# A configuration is NODES:RATE:RTT_MS:RAM:SHAPE, such as 3:100mbit:2:600MB:auto; without any, twelve
# for a model of about 1.3 GB. One thread a node; network namespaces by lab.sh. Prints one line each:
# what the home predicts (coel status), what it measures, and their ratio.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${COEL_BIN:-$here/../build/release}
model=$1
shift
if [ $# = 0 ]; then
  for link in 1gbit:0.2 1gbit:2 100mbit:2; do
    set -- "$@" "2:$link:900MB:auto" "2:$link:900MB:horizontal" "3:$link:700MB:layers" "3:$link:700MB:stages"
  done
fi
work=
pids=()
stop() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  pids=()
  [ -z "$work" ] || { "$here/lab.sh" down; rm -rf "$work"; }
  work=
}
trap stop EXIT

start() { # NODES RAM SHAPE
  "$bin/coel-node" keygen "$work/cluster.toml" --name bench >/dev/null
  for i in $(seq "$1"); do
    "$here/lab.sh" in "$i" "$bin/coel-node" --cluster "$work/cluster.toml" --listen "10.78.0.$i" --hello-port 0 \
      $(for j in $(seq "$1"); do echo --peer "10.78.0.$j"; done) --state "$work/s$i" --name "n$i" --homing off \
      --model "m=$model" --endpoint "ipc://$work/n$i.sock" -t 1 --ram "$2" --kv 64MB --shape "$3" -q 2>"$work/n$i.log" &
    pids+=($!)
  done
  for i in $(seq "$1"); do
    for _ in $(seq 600); do grep -q event=ready "$work/n$i.log" && break; sleep 0.2; done
    grep -q event=ready "$work/n$i.log" || { cat "$work/n$i.log" >&2; return 1; }
  done
}

# The home has a plan, and prices its tokens at most every 20 s, once it has decoded.
settle() {
  for _ in $(seq 60); do
    "$bin/coel" plan --endpoint "$1" 2>/dev/null | grep -q "no plan yet" || break
    sleep 0.5
  done
  for _ in 1 2 3 4; do
    "$bin/coel-bench" --endpoint "$1" -p 0 -n 40 -r 2 >/dev/null
    sleep 8
  done
}

printf '%-30s %9s %9s %7s %8s %8s  %s\n' configuration predicted measured ratio rounds rounds plan
for c in "$@"; do
  IFS=: read -r nodes rate rtt ram shape <<<"$c"
  work=$(mktemp -d)
  "$here/lab.sh" up "$nodes" "$rate" "$rtt" >/dev/null
  start "$nodes" "$ram" "$shape"
  at=ipc://$work/n1.sock
  settle "$at"
  "$bin/coel-bench" --endpoint "$at" -p 0 -n 40 -r 3 >/dev/null
  "$bin/coel" status --endpoint "$at" --json >"$work/status.json"
  /usr/bin/python3 - "$c" "$work/status.json" <<'PYTHON'
import json, sys
d = json.load(open(sys.argv[2]))
d = d.get("cluster", d)
n = d["network"][0]
plan = d["placement"][0].get("plan", {})
chosen = plan.get("name", "none")
p, m = n.get("predicted_us", 0) / 1000, n["decode_us"] / 1000
print(f"{sys.argv[1]:30} {p:7.1f}ms {m:7.1f}ms {p / m:7.2f} {n.get('predicted_rounds', 0):8.2f} {n['decode_rounds']:8.2f}  {chosen}")
PYTHON
  stop
done
