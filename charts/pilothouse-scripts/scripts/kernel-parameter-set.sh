#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ "$(id -u)" -eq 0 ] || needs root

# With a slash in it a name is written as a path, for interfaces that have a dot in their names.
case $NAME in */*) path=$NAME ;; *) path=$(printf '%s' "$NAME" | tr . /) ;; esac
[ -f "/proc/sys/$path" ] || fail "this kernel has no parameter $NAME"
# Parameters of several numbers come back with tabs between them.
current() { tr -s '[:space:]' ' ' < "/proc/sys/$path" | sed 's/ $//'; }
before=$(current)
echo "$NAME is $before"
if [ "$DRY_RUN" = true ]; then
  echo "ok: would set $NAME to $VALUE; set DRY_RUN to false to do so"
  exit 0
fi
printf '%s\n' "$VALUE" > "/proc/sys/$path" || fail "the kernel refuses $VALUE for $NAME"
[ "$(current)" = "$VALUE" ] || fail "$NAME is $(current) after it was set to $VALUE"
if [ "$PERSIST" = true ]; then
  file=/etc/sysctl.d/90-pilothouse.conf
  mkdir -p /etc/sysctl.d
  new=$(mktemp "$file.XXXXXX")
  [ ! -f "$file" ] || awk -v name="$NAME" '{ key = $1; sub(/=.*/, "", key) } key != name' "$file" > "$new"
  printf '%s = %s\n' "$NAME" "$VALUE" >> "$new"
  chmod 0644 "$new"
  mv -f -- "$new" "$file"
  echo "kept in $file"
fi
echo "ok: $NAME was $before and is $VALUE"
