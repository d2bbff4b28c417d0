#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
if command -v sqlite3 >/dev/null; then
  copy() { sqlite3 -bail "$FILE" '.timeout 30000' ".backup '$1'"; }
  check() { sqlite3 -bail "$1" 'PRAGMA integrity_check'; }
elif command -v python3 >/dev/null && python3 -c 'import sqlite3' 2>/dev/null; then
  copy() { python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=30).backup(sqlite3.connect(sys.argv[2]))' "$FILE" "$1"; }
  check() { python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA integrity_check").fetchone()[0])' "$1"; }
else
  # Copied as a file, a database in use would be torn.
  needs "sqlite3, or python3 with its module sqlite3"
fi
[ -f "$FILE" ] || fail "$FILE is no file"

umask 077
# The pattern of the parameter bounds what is written, this bounds where links lead.
case "$(readlink -m -- "$DIRECTORY")/" in
  /var/backups/* | /srv/backups/* | /backup/* | /mnt/*) ;;
  *) fail "$DIRECTORY leads out of the folders for backups" ;;
esac
mkdir -p -- "$DIRECTORY"

# A slash cannot be in a name, and a plus sign is in no parameter.
name=$(printf '%s' "${FILE#/}" | tr / +)
file="$DIRECTORY/$name-$(date -u +%Y%m%dT%H%M%SZ).gz"
trap 'rm -f -- "$file.copy" "$file.part"' EXIT
copy "$file.copy" 2>&1 || fail "$FILE cannot be read as an SQLite database"
[ "$(check "$file.copy" 2>&1)" = ok ] || fail "the copy of $FILE does not pass integrity_check"
gzip -c "$file.copy" > "$file.part"
mv -- "$file.part" "$file"

# Only what bears exactly the name that this script gives is taken for one of its own.
day='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
find "$DIRECTORY" -maxdepth 1 -type f -name "$name-${day}T[0-9][0-9][0-9][0-9][0-9][0-9]Z.gz" | sort -r | tail -n "+$((KEEP + 1))" |
  while IFS= read -r old; do
    rm -f -- "$old"
    echo "removed $old"
  done
echo "ok: $file has $(wc -c < "$file") bytes"
