#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v tar >/dev/null || needs tar
[ -d "$SOURCE" ] || fail "$SOURCE is no directory"

umask 077
# The pattern of the parameter bounds what is written, this bounds where links lead.
case "$(readlink -m -- "$DIRECTORY")/" in
  /var/backups/* | /srv/backups/* | /backup/* | /mnt/*) ;;
  *) fail "$DIRECTORY leads out of the folders for backups" ;;
esac
mkdir -p -- "$DIRECTORY"

# A slash cannot be in a name, and a plus sign is in no parameter.
name=$(printf '%s' "${SOURCE#/}" | tr / +)
file="$DIRECTORY/$name-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
trap 'rm -f -- "$file.part"' EXIT
status=0
tar --create --gzip --one-file-system --numeric-owner --exclude="${DIRECTORY#/}" --file="$file.part" --directory=/ -- "${SOURCE#/}" 2>&1 || status=$?
case $status in
  0) ;;
  1) echo "some files changed while they were read" ;;
  *) fail "tar cannot pack $SOURCE" ;;
esac
entries=$(tar --list --gzip --file="$file.part" | wc -l)
mv -- "$file.part" "$file"
echo "$file holds $entries entries"

# Only what bears exactly the name that this script gives is taken for one of its own.
day='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
find "$DIRECTORY" -maxdepth 1 -type f -name "$name-${day}T[0-9][0-9][0-9][0-9][0-9][0-9]Z.tar.gz" | sort -r | tail -n "+$((KEEP + 1))" |
  while IFS= read -r old; do
    rm -f -- "$old"
    echo "removed $old"
  done
echo "ok: $file has $(wc -c < "$file") bytes"
