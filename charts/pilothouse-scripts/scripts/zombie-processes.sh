#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v ps >/dev/null || needs "ps (package procps)"

zombies=$(ps -eo stat=,pid=,ppid=,comm= | awk '$1 ~ /^Z/ { print "process " $2 " of parent " $3 ": " $4 }')
count=$(printf '%s' "$zombies" | grep -c '') || true
[ -z "$zombies" ] || printf '%s\n' "$zombies"
[ "$count" -le "$MAX" ] || fail "zombies: $count, allowed: $MAX; their parents do not wait for them"
echo "ok: zombies: $count"
