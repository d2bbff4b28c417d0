#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v pg_dump >/dev/null || needs "pg_dump (package postgresql-client)"

umask 077
# The pattern of the parameter bounds what is written, this bounds where links lead.
case "$(readlink -m -- "$DIRECTORY")/" in
  /var/backups/* | /srv/backups/* | /backup/* | /mnt/*) ;;
  *) fail "$DIRECTORY leads out of the folders for backups" ;;
esac
mkdir -p -- "$DIRECTORY"

# The password reaches pg_dump by its environment, where only the same user may look.
export PGPASSWORD="$DB_PASSWORD" PGCONNECT_TIMEOUT=15
# A slash cannot be in a name, and a plus sign is in no parameter.
name=$(printf '%s@%s' "$DB_NAME" "$DB_HOST" | tr / +)
file="$DIRECTORY/$name-$(date -u +%Y%m%dT%H%M%SZ).dump"
trap 'rm -f -- "$file.part"' EXIT
pg_dump --no-password --format=custom --host="$DB_HOST" --port="$DB_PORT" --username="$DB_USER" --file="$file.part" --dbname="$DB_NAME" 2>&1 ||
  fail "pg_dump made no dump of $DB_NAME"
# A dump that cannot be listed cannot be restored.
entries=$(pg_restore --list "$file.part" | grep -c '^[0-9]') || fail "the dump of $DB_NAME holds nothing"
mv -- "$file.part" "$file"
echo "$file holds $entries entries"

# Only what bears exactly the name that this script gives is taken for one of its own.
day='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
find "$DIRECTORY" -maxdepth 1 -type f -name "$name-${day}T[0-9][0-9][0-9][0-9][0-9][0-9]Z.dump" | sort -r | tail -n "+$((KEEP + 1))" |
  while IFS= read -r old; do
    rm -f -- "$old"
    echo "removed $old"
  done
echo "ok: $file has $(wc -c < "$file") bytes"
