#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

[ -d "$DIRECTORY" ] || fail "$DIRECTORY is no directory"
# What may not be read is left out, and find says so by its exit code alone.
found=$(find "$DIRECTORY" -xdev -type f -size "+$((MIN_MIB * 1024))k" -printf '%k\t%p\n' 2>/dev/null | sort -rn | head -n "$COUNT")
if [ -z "$found" ]; then
  echo "ok: no file above $MIN_MIB MiB below $DIRECTORY"
  exit 0
fi
printf '%s\n' "$found" | awk -F '\t' '{ printf "%8d MiB  %s\n", $1 / 1024, $2 }'
echo "ok: files above $MIN_MIB MiB below $DIRECTORY: $(printf '%s\n' "$found" | wc -l)"
