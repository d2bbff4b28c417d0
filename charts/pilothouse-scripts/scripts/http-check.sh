#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/body"
status=0
if command -v curl >/dev/null; then
  curl --silent --show-error --location --max-time "$TIMEOUT" --output "$work/body" --dump-header "$work/head" "$URL" 2>"$work/error" || status=$?
elif command -v wget >/dev/null; then
  timeout "$TIMEOUT" wget --tries=1 --server-response --output-document="$work/body" "$URL" 2>"$work/head" || status=$?
elif command -v busybox >/dev/null; then
  # Its wget does not look at certificates, so an answer over TLS would prove nothing.
  case $URL in https:*) needs "curl or wget" ;; esac
  timeout "$TIMEOUT" busybox wget -S -O "$work/body" "$URL" 2>"$work/head" || status=$?
else
  needs "curl or wget"
fi

code=$(sed -n 's,.*HTTP/[0-9.]* \([0-9]\{3\}\).*,\1,p' "$work/head" 2>/dev/null | tail -n 1)
if [ -z "$code" ]; then
  cat "$work/error" "$work/head" 2>/dev/null | tail -n 5
  fail "no answer from $URL within $TIMEOUT seconds (exit code $status)"
fi
echo "$URL answers $code with $(wc -c < "$work/body") bytes"
[ "$code" = "$EXPECTED" ] || fail "expected was $EXPECTED"
[ -z "$CONTAINS" ] || grep -qF -e "$CONTAINS" "$work/body" || fail "the answer does not contain: $CONTAINS"
echo "ok: $URL answers as expected"
