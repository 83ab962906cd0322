#!/usr/bin/env bash
# Hosts on one machine: network namespaces on one bridge, each behind a shaped link.
#   lab.sh up N RATE RTT_MS     such as: lab.sh up 3 1gbit 0.2     (RATE 0: no limit)
#   lab.sh in I COMMAND...      runs COMMAND in host I (1..N), whose address is 10.78.0.I
#   lab.sh link I down|up       cuts host I off, or connects it again
#   lab.sh check                round trips from host 1
#   lab.sh down
# The kernel shapes with netem where it has it. Where it does not, `up` says so and exits with 77, and
# SWITCH may name a program that takes RATE_BITS RTT_US QUEUE_BYTES LOSS_PPM TAP... and forwards
# frames between those TAP devices, saying "ready".
set -euo pipefail
lab=${LAB:-coel}
state=/run/coel-lab-$lab
net=10.78.0

bits() {
  case $1 in
    *gbit) echo $((${1%gbit} * 1000000000)) ;;
    *mbit) echo $((${1%mbit} * 1000000)) ;;
    *) echo "$1" ;;
  esac
}

has_netem() {
  ip netns add "$lab-probe"
  local good=0
  ip -n "$lab-probe" link add p0 type veth peer name p1 &&
    ip netns exec "$lab-probe" tc qdisc add dev p0 root netem delay 1ms 2>/dev/null || good=1
  ip netns del "$lab-probe"
  return $good
}

# A round trip passes each host's two queues twice.
shape_by_netem() { # HOST RATE RTT_MS
  local delay
  delay=$(awk "BEGIN{print $3 * 250}")us
  local how=(netem limit 10000 delay "$delay")
  [ "$2" = 0 ] || how+=(rate "$(bits "$2")bit")
  ip netns exec "$lab$1" tc qdisc add dev eth0 root "${how[@]}"
  tc qdisc add dev "$lab-v$1" root "${how[@]}"
}

up_by_netem() { # N RATE RTT_MS
  ip link add "$lab-br" type bridge
  ip link set "$lab-br" up
  for i in $(seq "$1"); do
    ip link add "$lab-v$i" type veth peer name eth0 netns "$lab$i"
    ip link set "$lab-v$i" master "$lab-br" up
    shape_by_netem "$i" "$2" "$3"
  done
}

up_by_switch() { # N RATE RTT_MS
  local taps=() rate=$(($(bits "$2") + 0))
  for i in $(seq "$1"); do taps+=("$lab-t$i"); done
  # The way through TAPs and switch takes 0.04 ms in each direction by itself.
  local us queue
  us=$(awk "BEGIN{u = $3 * 1000 - 80; print (u > 0 ? u : 0)}")
  queue=$((rate / 160 > 262144 ? rate / 160 : 262144))
  "$SWITCH" "$rate" "$us" "$queue" "${LOSS_PPM:-0}" "${taps[@]}" >"$state/switch" 2>&1 &
  echo $! >"$state/pid"
  for _ in $(seq 100); do grep -q ready "$state/switch" && break; sleep 0.05; done
  grep -q ready "$state/switch"
  for i in $(seq "$1"); do ip link set "$lab-t$i" netns "$lab$i" name eth0; done
}

up() { # N RATE RTT_MS
  local way=netem
  has_netem || way=switch
  if [ $way = switch ] && [ -z "${SWITCH:-}" ]; then
    echo "lab.sh: this kernel has no netem; set SWITCH to a program that shapes TAP devices" >&2
    exit 77
  fi
  mkdir "$state"
  echo "$1" >"$state/n"
  for i in $(seq "$1"); do
    ip netns add "$lab$i"
    ip -n "$lab$i" link set lo up
  done
  "up_by_$way" "$@"
  for i in $(seq "$1"); do
    ip -n "$lab$i" addr add "$net.$i/24" brd + dev eth0
    ip -n "$lab$i" link set eth0 up
  done
}

down() {
  [ -d "$state" ] || return 0
  [ ! -f "$state/pid" ] || kill "$(cat "$state/pid")" 2>/dev/null || true
  for i in $(seq "$(cat "$state/n")"); do
    ip netns del "$lab$i" 2>/dev/null || true
    ip link del "$lab-v$i" 2>/dev/null || true
  done
  ip link del "$lab-br" 2>/dev/null || true
  rm -rf "$state"
}

command=${1:-}
shift || true
case $command in
  up) [ $# = 3 ] || { sed -n '2,11p' "$0"; exit 2; }; up "$@" ;;
  in) host=$1; shift; exec ip netns exec "$lab$host" "$@" ;;
  link) ip -n "$lab$1" link set eth0 "$2" ;;
  check) command -v ping >/dev/null || exit 0
    for i in $(seq 2 "$(cat "$state/n")"); do ip netns exec "${lab}1" ping -q -i 0.02 -c 50 "$net.$i" | tail -1; done ;;
  down) down ;;
  *) sed -n '2,11p' "$0"; exit 2 ;;
esac
