#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

table=$(df -P -i -l -x tmpfs -x devtmpfs -x squashfs -x overlay) || true
[ "$(printf '%s\n' "$table" | wc -l)" -gt 1 ] || fail "df shows no local file system"
printf '%s\n' "$table"
# File systems that make inodes as they go show "-", which counts as zero.
full=$(printf '%s\n' "$table" | awk -v limit="$THRESHOLD" '
  NR > 1 && $5 + 0 >= limit { mount = $6; for (i = 7; i <= NF; i++) mount = mount " " $i; print mount " at " $5 }')
[ -z "$full" ] || fail "$THRESHOLD% or more of the inodes are used: $(printf '%s\n' "$full" | paste -s -d ',')"
echo "ok: every file system is below $THRESHOLD% of its inodes"
