#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

getent passwd | awk -F ':' -v which="$WHICH" '
  { login = ($7 !~ /(nologin|false|sync)$/) }
  which == "all" || login { printf "%-20s uid %-6s gid %-6s %-24s %s\n", $1, $3, $4, $6, $7 }'
# A second account with UID 0 is a back door more often than not.
roots=$(getent passwd | awk -F ':' '$3 == 0 && $1 != "root" { print $1 }' | paste -s -d ' ')
[ -z "$roots" ] || fail "other accounts than root have UID 0: $roots"
echo "ok: only root has UID 0"
