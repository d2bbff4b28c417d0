#!/bin/bash
set -eu
fail() { echo "failed: $*"; exit 1; }

# Bash connects by itself, so that no netcat is needed.
said=$(timeout "$TIMEOUT" bash -c ': <"/dev/tcp/$1/$2"' connect "$HOST" "$PORT" 2>&1) && status=0 || status=$?
case $status in
  0) echo "ok: $HOST answers on port $PORT" ;;
  124) fail "$HOST does not answer on port $PORT within $TIMEOUT seconds" ;;
  *) fail "no connection to $HOST on port $PORT: ${said%%$'\n'*}" ;;
esac
