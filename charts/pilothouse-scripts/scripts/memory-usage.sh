#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

field() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
total=$(field MemTotal)
available=$(field MemAvailable)
used=$(((total - available) * 100 / total))
echo "$((total / 1024)) MiB, of them $((available / 1024)) MiB available, $used% used"
if command -v ps >/dev/null; then
  ps -eo pid,user:16,rss,comm --sort=-rss | head -n 6
fi
[ "$used" -lt "$THRESHOLD" ] || fail "$used% of the memory is used, the threshold is $THRESHOLD%"
echo "ok: memory is below $THRESHOLD%"
