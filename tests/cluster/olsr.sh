#!/usr/bin/env bash
# olsr.sh TEST_ACTORS: a CoEL node beside two unmodified OLSR daemons, each in a network namespace,
# joined by a bridge: first all on one segment, then so that the daemons hear CoEL and not each other.
# The daemons must take CoEL for a symmetric neighbour, keep each other where they can, and route
# nothing through CoEL, which forwards nothing.
# Needs root, ip, and olsrd (in PATH or $OLSRD; $OLSRD_TXTINFO: its txtinfo plugin). Exits with 77,
# which ctest can take as skipped, where something is missing.
set -euo pipefail
program=$(realpath "${1:?usage: olsr.sh TEST_ACTORS}")
olsrd=${OLSRD:-$(command -v olsrd || true)}
skip() { echo "skipped: $*"; exit 77; }
[ -n "$olsrd" ] || skip "no olsrd here (Debian 12 has no such package; set OLSRD=/path/to/olsrd)"
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
work=$(mktemp -d)
id=coel-$$
running=()
cleanup() {
  [ ${#running[@]} = 0 ] || kill "${running[@]}" 2>/dev/null || true
  wait || true
  for n in s d e c; do ip netns del "$id-$n" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
ip netns add "$id-s" 2>/dev/null || skip "no network namespaces here"
ip -n "$id-s" link add br0 type bridge 2>/dev/null || skip "no bridges here"
ip -n "$id-s" link set br0 up

attach() { # NAMESPACE ADDRESS
  ip netns add "$id-$1"
  ip -n "$id-$1" link add coel0 type veth peer name "p-$1" netns "$id-s"
  ip -n "$id-s" link set "p-$1" master br0 up
  ip -n "$id-$1" address add "$2/24" broadcast + dev coel0
  ip -n "$id-$1" link set coel0 up
  ip -n "$id-$1" link set lo up
}
attach d 10.198.1.1
attach c 10.198.1.2
attach e 10.198.1.3

config() { # NAME: RFC 3626 as written, without the daemon's own extension for link quality
  cat <<TEXT
DebugLevel 2
IpVersion 4
FIBMetric "flat"
LockFile "$work/$1.lock"
LinkQualityLevel 0
UseHysteresis yes
HystScaling 0.50
HystThrHigh 0.80
HystThrLow 0.30
Interface "coel0" { HelloInterval 2.0 HelloValidityTime 6.0 }
TEXT
}
failed() { echo "FAILED: $*"; status=1; }

meet() { # MODE: both daemons and CoEL start, meet and stop
  running=()
  for n in d e; do
    config "$n" > "$work/$n.conf"
    ip netns exec "$id-$n" "$olsrd" -f "$work/$n.conf" -nofork > "$work/$n.log" 2>&1 &
    running+=($!)
  done
  ip netns exec "$id-c" env COEL_OLSR_PEER=10.198.1.1 COEL_OLSR_SECONDS="${COEL_OLSR_SECONDS:-12}" \
    "$program" --run_test=perception_between_namespaces/beside_a_daemon || failed "$1: CoEL's own checks"
  ip -n "$id-d" route > "$work/routes"
  kill "${running[@]}"
  wait "${running[@]}" || true
  running=()
}

neighbours() { # NAME: the neighbour table that the daemon printed last
  awk '/---/ { on = / NEIGHBORS$/ && !/TWO-HOP/; if (on) table = "" }
       on { table = table $0 "\n" }
       END { printf "%s", table }' "$work/$1.log"
}

is_symmetric() { # TABLE ADDRESS WILLINGNESS
  awk -v a="$2" -v w="$3" '$1 == a && $5 == "YES" && $6 == "NO" && $NF == w { found = 1 } END { exit !found }' "$1"
}

status=0
for mode in together apart; do
  if [ $mode = apart ]; then
    for n in d e; do
      ip -n "$id-s" link set "p-$n" type bridge_slave isolated on || { echo "no isolated ports here"; break 2; }
    done
  fi
  meet $mode
  for n in d e; do
    echo "== $mode: neighbours of daemon $n"
    neighbours "$n" | tee "$work/$n.table"
    is_symmetric "$work/$n.table" 10.198.1.2 0 || failed "$mode: CoEL is no symmetric neighbour of daemon $n"
  done
  daemons_meet=no
  if is_symmetric "$work/d.table" 10.198.1.3 3 && is_symmetric "$work/e.table" 10.198.1.1 3; then daemons_meet=yes; fi
  expected=$([ $mode = together ] && echo yes || echo no)
  [ $daemons_meet = "$expected" ] || failed "$mode: daemons that hear each other: $daemons_meet"
  if grep 'via 10\.198\.1\.2' "$work/routes"; then failed "$mode: a route leads through CoEL"; fi
done
exit $status
