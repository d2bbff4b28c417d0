#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v openssl >/dev/null || needs openssl

case $HOST in *:*) address="[$HOST]:$PORT" ;; *) address="$HOST:$PORT" ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
timeout "$TIMEOUT" openssl s_client -connect "$address" -servername "${SERVER_NAME:-$HOST}" </dev/null >"$work/said" 2>"$work/error" || true
if ! openssl x509 -in "$work/said" -out "$work/leaf" 2>/dev/null; then
  tail -n 3 "$work/error"
  fail "$address shows no certificate within $TIMEOUT seconds"
fi
openssl x509 -in "$work/leaf" -noout -subject -issuer -dates
verdict=$(sed -n 's/^ *\(Verification\|Verify return code\): *//p' "$work/said" | tail -n 1)
echo "verification: ${verdict:-unknown}"
openssl x509 -in "$work/leaf" -noout -checkend "$((DAYS * 86400))" >/dev/null || fail "the certificate of $address ends within $DAYS days"
if [ "$VERIFY" = true ]; then
  case $verdict in OK | "0 (ok)") ;; *) fail "the host does not trust the certificate of $address" ;; esac
fi
echo "ok: the certificate of $address holds for more than $DAYS days"
