#!/bin/sh
set -eu

# Neither read nor changed for so long; what systemd gave a service for itself is the service's.
old() {
  find "$DIRECTORY" -xdev -mindepth 1 -path "$DIRECTORY/systemd-private-*" -prune -o \
    -type f -mmin "+$((DAYS * 1440))" -amin "+$((DAYS * 1440))" "$@"
}

files=$(old -printf '%k\t%p\n')
if [ -z "$files" ]; then
  echo "ok: nothing in $DIRECTORY was left alone for $DAYS days"
  exit 0
fi
printf '%s\n' "$files" | awk -F '\t' '{ printf "%8d KiB  %s\n", $1, $2 }'
sum=$(printf '%s\n' "$files" | awk -F '\t' '{ sum += $1 } END { print sum " KiB in " NR (NR == 1 ? " file" : " files") }')
if [ "$DRY_RUN" = true ]; then
  echo "ok: would remove $sum; set DRY_RUN to false to do so"
else
  # Within the folder that find is in, since a path could be led elsewhere by a link put in its way.
  old -execdir rm -f -- '{}' +
  echo "ok: removed $sum"
fi
