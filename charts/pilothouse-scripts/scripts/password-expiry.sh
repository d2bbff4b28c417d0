#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ "$(id -u)" -eq 0 ] || needs root

today=$(($(date +%s) / 86400))
# Accounts without a password, and locked ones, have none that could expire; the account itself may.
ends=$(getent shadow | awk -F ':' -v today="$today" '
  function tell(what, left) { print $1 ": " what (left < 0 ? " ended " (-left) " days ago" : " ends in " left " days") "\t" left }
  # The first day of 1970 is how systemd locks what it makes.
  $8 > 1 { tell("account", $8 - today) }
  $2 ~ /^[$._A-Za-z0-9]/ && $3 != "" && $5 != "" && $5 < 99999 { tell("password", $3 + $5 - today) }')
[ -z "$ends" ] || printf '%s\n' "$ends" | cut -f 1
soon=$(printf '%s\n' "$ends" | awk -F '\t' -v days="$DAYS" 'NF && $2 <= days { sub(/:.*/, "", $1); print $1 }' | sort -u | paste -s -d ' ')
[ -z "$soon" ] || fail "within $DAYS days it is over for $soon"
echo "ok: no password and no account ends within $DAYS days"
