#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v ss >/dev/null || needs "ss (package iproute2)"

# Only root is told which process listens.
sockets=$(ss -H -l -n -t -u -p)
printf '%s\n' "$sockets" | awk '{ print $1, $5, $7 }' | sort -u
[ -n "$ALLOWED" ] || exit 0
other=$(printf '%s\n' "$sockets" | awk -v allowed=" $ALLOWED " '
  $5 ~ /^(127\.|\[::1\])/ { next }
  { port = $5; sub(/.*:/, "", port) }
  port != "" && !index(allowed, " " port " ") { print $1 "/" port }' | sort -u | paste -s -d ' ')
[ -z "$other" ] || fail "something else than allowed listens: $other"
echo "ok: nothing listens to others but on $ALLOWED"
