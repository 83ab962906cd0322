#!/bin/sh
# limited.sh BYTES [--] PROGRAM ARGS...: runs a program in a control group of its own with so much
# memory (and no swap), removes the group, and tells on standard error the most that the group has
# held, page cache included. Needs root; takes cgroup v2 where that has a memory controller, else v1.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 BYTES PROGRAM ARGS..." >&2; exit 2; }
limit=$1
shift
[ "$1" != -- ] || shift
[ "$(id -u)" = 0 ] || { echo "$0: a control group needs root" >&2; exit 2; }
name=coel-bench-$$
if grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
  group=/sys/fs/cgroup/$name most=memory.peak
  grep -qw memory /sys/fs/cgroup/cgroup.subtree_control ||
    { echo "$0: /sys/fs/cgroup hands the memory controller to no group" >&2; exit 2; }
  mkdir "$group"
  echo "$limit" >"$group/memory.max"
  echo 0 >"$group/memory.swap.max" 2>/dev/null || :
else
  group=/sys/fs/cgroup/memory/$name most=memory.max_usage_in_bytes
  mkdir "$group" || { echo "$0: no control group for memory can be made here" >&2; exit 2; }
  echo "$limit" >"$group/memory.limit_in_bytes"
  echo 0 >"$group/memory.swappiness" 2>/dev/null || :
fi
child=
leave() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || :
  [ -z "$child" ] || wait "$child" 2>/dev/null || :
  rmdir "$group" 2>/dev/null || { sleep 1; rmdir "$group"; }
}
trap leave EXIT
trap 'exit 130' INT TERM
sh -c 'echo $$ >"$0/cgroup.procs"; shift 0; exec "$@"' "$group" "$@" &
child=$!
code=0
wait "$child" || code=$?
child=
echo "most held in the group: $(cat "$group/$most" 2>/dev/null || echo unknown) of $limit bytes" >&2
exit "$code"
