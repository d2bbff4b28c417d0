#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

answer=$(timeout "$TIMEOUT" getent ahosts "$NAME") || fail "$NAME is not found within $TIMEOUT seconds"
addresses=$(printf '%s\n' "$answer" | awk '{ print $1 }' | sort -u)
printf '%s\n' "$addresses"
[ -z "$EXPECTED" ] || printf '%s\n' "$addresses" | grep -qxF -e "$EXPECTED" || fail "$EXPECTED is not among the addresses of $NAME"
echo "ok: $NAME is found"
