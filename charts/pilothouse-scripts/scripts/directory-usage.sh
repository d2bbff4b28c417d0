#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

[ -d "$DIRECTORY" ] || fail "$DIRECTORY is no directory"
# What may not be read is left out, and du says so by its exit code alone.
sizes=$(du -x -k -d "$DEPTH" -- "$DIRECTORY" 2>/dev/null | sort -rn | head -n "$COUNT")
[ -n "$sizes" ] || fail "$DIRECTORY cannot be read"
printf '%s\n' "$sizes" | awk -F '\t' '{ printf "%10.1f MiB  %s\n", $1 / 1024, $2 }'
