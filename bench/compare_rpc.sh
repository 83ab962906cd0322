#!/usr/bin/env bash
# CoEL on several hosts against llama.cpp's RPC on the same hosts, in turn: decode and a prompt.
#   compare_rpc.sh LLAMA_BIN MODEL.gguf NODES RATE RTT_MS [RAM] [ROUNDS]
# LLAMA_BIN holds llama-bench and ggml-rpc-server built with GGML_RPC. One thread a node; both see
# the same shaped network (lab.sh). RPC_CACHE names a folder where its servers keep weights: a run on
# fast links fills it, so that one on slow links need not send them for minutes. RAM is CoEL's budget
# on each node, such as 6GB; 0: none. PROMPT, ANSWER, SESSIONS: what is asked; AGAIN: so often on one
# cluster; ONLY_COEL: without RPC; COEL_EXTRA: options of the nodes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${COEL_BIN:-$here/../build/release}
llama=$1 model=$2 nodes=$3 rate=$4 rtt=$5 ram=${6:-0} rounds=${7:-3}
prompt=${PROMPT:-128} answer=${ANSWER:-32}
work=$(mktemp -d)
pids=()
stop() {
  for p in "${pids[@]}"; do kill -CONT "$p" 2>/dev/null || true; kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  "$here/lab.sh" down
  rm -rf "$work"
}
trap stop EXIT
lab() { "$here/lab.sh" "$@"; }

start_coel() {
  "$bin/coel-node" keygen "$work/cluster.toml" --name bench >/dev/null
  for i in $(seq "$nodes"); do
    "$here/lab.sh" in "$i" "$bin/coel-node" --cluster "$work/cluster.toml" --listen "10.78.0.$i" --hello-port 0 \
      $(for j in $(seq "$nodes"); do echo --peer "10.78.0.$j"; done) --state "$work/s$i" --name "n$i" \
      --model "m=$model" --endpoint "ipc://$work/n$i.sock" -t 1 --ram "$ram" --kv 256MB -q ${COEL_EXTRA:-} 2>"$work/n$i.log" &
    pids+=($!)
  done
  for i in $(seq "$nodes"); do
    for _ in $(seq 600); do grep -q event=ready "$work/n$i.log" && break; sleep 0.5; done
    grep -q event=ready "$work/n$i.log" || { cat "$work/n$i.log"; exit 1; }
  done
}
start_rpc() {
  rpc=
  for i in $(seq 2 "$nodes"); do
    LLAMA_CACHE=${RPC_CACHE:-}/$i "$here/lab.sh" in "$i" "$llama/ggml-rpc-server" ${RPC_CACHE:+-c} \
      -H "10.78.0.$i" -p 50052 -t 1 >"$work/rpc$i.log" 2>&1 &
    pids+=($!)
    rpc=$rpc${rpc:+,}10.78.0.$i:50052
  done
}

lab up "$nodes" "$rate" "$rtt"
lab check
start_coel
"$bin/coel" status --endpoint "ipc://$work/n1.sock" | tail -12
sleep "${SETTLE:-10}"
coel=$(for _ in $(seq "${AGAIN:-1}"); do
  "$bin/coel-bench" --endpoint "ipc://$work/n1.sock" -p "$prompt" -n "$answer" --sessions "${SESSIONS:-1}" -r "$rounds"
done)
echo "== CoEL, $nodes nodes, $rate, $rtt ms"; echo "$coel"
"$bin/coel" status --endpoint "ipc://$work/n1.sock" --json >"${STATUS_OUT:-$work/status.json}"
for p in "${pids[@]}"; do kill "$p"; done
wait
pids=()
[ -n "${ONLY_COEL:-}" ] && exit
start_rpc
sleep 1
echo "== llama.cpp RPC, the same nodes"
lab in 1 "$llama/llama-bench" -m "$model" --rpc "$rpc" -ngl 99 -t 1 -p "$prompt" -n "$answer" -r "$rounds" 2>&1 | grep -E "model|pp|tg|rror"
