#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v openssl >/dev/null || needs openssl
[ -e "$LOCATION" ] || fail "$LOCATION does not exist"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A file may hold a chain, and any link of it may end first.
find -H "$LOCATION" -maxdepth 1 \( -path "$LOCATION" -o -name '*.pem' -o -name '*.crt' -o -name '*.cer' \) \( -type f -o -type l \) |
  while IFS= read -r file; do
    rm -f "$work"/*.pem
    awk -v work="$work" '/-----BEGIN (TRUSTED )?CERTIFICATE-----/ { out = sprintf("%s/%04d.pem", work, ++n) }
      out { print > out } /-----END / { if (out) close(out); out = "" }' "$file"
    for part in "$work"/*.pem; do
      [ -f "$part" ] || continue
      echo "$file: $(openssl x509 -in "$part" -noout -subject -enddate 2>&1 | paste -s -d ' ')"
      openssl x509 -in "$part" -noout -checkend "$((DAYS * 86400))" >/dev/null 2>&1 || echo "$file" >> "$work/ends"
      echo "$file" >> "$work/seen"
    done
  done
[ -s "$work/seen" ] || fail "there is no certificate in $LOCATION"
[ ! -s "$work/ends" ] || fail "certificates end within $DAYS days, or cannot be read, in $(sort -u "$work/ends" | paste -s -d ' ')"
echo "ok: all hold for more than $DAYS days, certificates: $(wc -l < "$work/seen")"
