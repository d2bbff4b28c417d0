#!/bin/sh
set -eu
needs() { echo "needs $*"; exit 3; }
command -v journalctl >/dev/null || needs journalctl
[ "$(id -u)" -eq 0 ] || needs root

before=$(journalctl --disk-usage 2>&1)
echo "$before"
if [ "$DRY_RUN" = true ]; then
  echo "ok: would keep $MAX_SIZE and $DAYS days at most; set DRY_RUN to false to do so"
  exit 0
fi
# Vacuuming takes archived files only, so the current one is put among them first.
journalctl --rotate --vacuum-size="$MAX_SIZE" --vacuum-time="${DAYS}d" 2>&1
journalctl --disk-usage 2>&1
echo "ok: $MAX_SIZE and $DAYS days are kept at most"
