#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

# A shell reads byte by byte, and this file answers its first byte only.
numbers=$(cat /proc/sys/fs/file-nr)
open=${numbers%%[!0-9]*}
most=${numbers##*[!0-9]}
echo "$open of $most file handles are open"
# The most may be 2^63-1, so percent are counted in floating point.
used=$(awk -v open="$open" -v most="$most" 'BEGIN { print int(open * 100 / most) }')
[ "$used" -lt "$THRESHOLD" ] || fail "$used% of the file handles are open, the threshold is $THRESHOLD%"
echo "ok: $used% of the file handles are open"
