#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
# What cannot be read cannot be found either.
[ "$(id -u)" -eq 0 ] || needs root
[ -d "$DIRECTORY" ] || fail "$DIRECTORY is no directory"

bad=0
report() {
  title=$1
  shift
  found=$(find "$DIRECTORY" -xdev "$@" -printf '%M %u:%g %p\n' | head -n 200)
  [ -n "$found" ] || return 0
  echo "$title:"
  printf '%s\n' "$found" | sed 's/^/  /'
  return 1
}
report "files that everybody may write" -type f -perm -0002 || bad=1
report "directories that everybody may write, without the sticky bit" -type d -perm -0002 ! -perm -1000 || bad=1
report "without an owner or a group" \( -nouser -o -nogroup \) || bad=1
report "setuid or setgid" -type f \( -perm -4000 -o -perm -2000 \) || [ "$SETUID" = allow ] || bad=1
[ "$bad" -eq 0 ] || fail "$DIRECTORY has files with permissions that are too wide"
echo "ok: permissions below $DIRECTORY are in order"
