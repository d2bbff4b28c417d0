#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

real=$(readlink -f -- "$DIRECTORY") || fail "$DIRECTORY does not exist"
[ -d "$real" ] || fail "$DIRECTORY is no directory"
# The pattern of the parameter bounds what is written, this bounds where links lead.
case "$real/" in
  /var/log/* | /opt/*/log/* | /opt/*/logs/* | /srv/*/log/* | /srv/*/logs/*) ;;
  *) fail "$DIRECTORY leads to $real, which is no directory of logs" ;;
esac

# Only what rotation has put aside; a file that is still written keeps its plain name.
rotated() {
  find "$real" -xdev -path '*/journal/*' -prune -o -type f -mmin "+$((DAYS * 1440))" \
    -regextype posix-extended -regex '.*(\.(gz|xz|bz2|zst|old|[0-9]{1,3})|-[0-9]{8})' "$@"
}

files=$(rotated -printf '%k\t%p\n')
if [ -z "$files" ]; then
  echo "ok: nothing rotated is older than $DAYS days in $real"
  exit 0
fi
printf '%s\n' "$files" | awk -F '\t' '{ printf "%8d KiB  %s\n", $1, $2 }'
sum=$(printf '%s\n' "$files" | awk -F '\t' '{ sum += $1 } END { print sum " KiB in " NR (NR == 1 ? " file" : " files") }')
if [ "$DRY_RUN" = true ]; then
  echo "ok: would remove $sum; set DRY_RUN to false to do so"
else
  # Within the folder that find is in, since a path could be led elsewhere by a link put in its way.
  rotated -execdir rm -f -- '{}' +
  echo "ok: removed $sum"
fi
