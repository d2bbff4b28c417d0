#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v journalctl >/dev/null || needs journalctl
# Others would see their own entries only, and find nothing wrong.
[ "$(id -u)" -eq 0 ] || needs root

set -- --since "-${HOURS}h" --no-pager --quiet --output short-iso
[ -z "$UNIT" ] || set -- "$@" --unit "$UNIT"
status=0
printf '' | grep -E -e "$PATTERN" || status=$?
[ "$status" -lt 2 ] || fail "$PATTERN is no extended regular expression"
found=$(journalctl "$@" | grep -E -e "$PATTERN") || true
count=$(printf '%s' "$found" | grep -c '') || true
[ -z "$found" ] || printf '%s\n' "$found" | tail -n 50
[ "$count" -le "$MAX" ] || fail "$count entries of the last $HOURS hours match $PATTERN, allowed are $MAX"
echo "ok: $count entries of the last $HOURS hours match $PATTERN"
