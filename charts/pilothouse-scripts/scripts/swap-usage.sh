#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

field() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
total=$(field SwapTotal)
if [ "${total:-0}" -eq 0 ]; then
  [ "$REQUIRED" = false ] || fail "there is no swap"
  echo "ok: there is no swap"
  exit 0
fi
used=$(((total - $(field SwapFree)) * 100 / total))
cat /proc/swaps
[ "$used" -lt "$THRESHOLD" ] || fail "$used% of the swap is used, the threshold is $THRESHOLD%"
echo "ok: $used% of the swap is used"
