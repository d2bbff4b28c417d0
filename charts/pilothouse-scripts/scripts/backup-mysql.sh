#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
dump=
for tool in mariadb-dump mysqldump; do
  ! command -v "$tool" >/dev/null || { dump=$tool; break; }
done
[ -n "$dump" ] || needs "mysqldump or mariadb-dump (package mariadb-client)"

umask 077
# The pattern of the parameter bounds what is written, this bounds where links lead.
case "$(readlink -m -- "$DIRECTORY")/" in
  /var/backups/* | /srv/backups/* | /backup/* | /mnt/*) ;;
  *) fail "$DIRECTORY leads out of the folders for backups" ;;
esac
mkdir -p -- "$DIRECTORY"

work=$(mktemp -d)
# A slash cannot be in a name, and a plus sign is in no parameter.
name=$(printf '%s@%s' "$DB_NAME" "$DB_HOST" | tr / +)
file="$DIRECTORY/$name-$(date -u +%Y%m%dT%H%M%SZ).sql.gz"
trap 'rm -rf -- "$work" "$file.plain" "$file.part"' EXIT
# A password among the arguments would be seen by every user of the host.
printf '[client]\npassword="%s"\n' "$(printf '%s' "$DB_PASSWORD" | sed 's/[\\"]/\\&/g')" > "$work/options"
case $DB_HOST in /*) set -- "--socket=$DB_HOST" ;; *) set -- "--host=$DB_HOST" "--port=$DB_PORT" ;; esac
"$dump" --defaults-extra-file="$work/options" "$@" --user="$DB_USER" --no-tablespaces --single-transaction --quick --routines --triggers "$DB_NAME" > "$file.plain" ||
  fail "$dump made no dump of $DB_NAME"
# The last line is written when everything before it was.
tail -n 1 "$file.plain" | grep -q '^-- Dump completed' || fail "the dump of $DB_NAME is not complete"
gzip -c "$file.plain" > "$file.part"
mv -- "$file.part" "$file"

# Only what bears exactly the name that this script gives is taken for one of its own.
day='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
find "$DIRECTORY" -maxdepth 1 -type f -name "$name-${day}T[0-9][0-9][0-9][0-9][0-9][0-9]Z.sql.gz" | sort -r | tail -n "+$((KEEP + 1))" |
  while IFS= read -r old; do
    rm -f -- "$old"
    echo "removed $old"
  done
echo "ok: $file has $(wc -c < "$file") bytes"
