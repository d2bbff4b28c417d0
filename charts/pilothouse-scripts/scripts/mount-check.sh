#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v findmnt >/dev/null || needs findmnt

line=$(findmnt --noheadings --raw --output SOURCE,FSTYPE,OPTIONS --mountpoint "$MOUNT_POINT" | tail -n 1)
[ -n "$line" ] || fail "nothing is mounted on $MOUNT_POINT"
echo "$MOUNT_POINT: $line"
type=$(printf '%s' "$line" | cut -d ' ' -f 2)
options=$(printf '%s' "$line" | cut -d ' ' -f 3)
[ -z "$FILE_SYSTEM" ] || [ "$type" = "$FILE_SYSTEM" ] || fail "$MOUNT_POINT is $type, expected was $FILE_SYSTEM"
for option in $(printf '%s' "$OPTIONS" | tr ',' ' '); do
  case ",$options," in *",$option,"*) ;; *) fail "$MOUNT_POINT is not mounted with $option" ;; esac
done
if [ "$WRITE" = true ]; then
  probe=$(mktemp -- "$MOUNT_POINT/.pilothouse.XXXXXX") || fail "$MOUNT_POINT takes no new file"
  rm -f -- "$probe"
fi
echo "ok: $MOUNT_POINT is mounted as expected"
