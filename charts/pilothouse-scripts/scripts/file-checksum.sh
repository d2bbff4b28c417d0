#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

[ -f "$FILE" ] || fail "$FILE is no file"
sum=$(sha256sum < "$FILE") || fail "$FILE cannot be read"
sum=${sum%% *}
echo "$sum  $FILE"
[ -z "$EXPECTED" ] || [ "$sum" = "$EXPECTED" ] || fail "expected was $EXPECTED"
echo "ok: $(stat -c '%s bytes, changed %y, owner %U:%G, mode %a' -- "$FILE")"
