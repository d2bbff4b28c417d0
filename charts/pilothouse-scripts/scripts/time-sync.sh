#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }

date -u '+now: %Y-%m-%dT%H:%M:%SZ'
if command -v chronyc >/dev/null && tracking=$(chronyc tracking 2>/dev/null); then
  printf '%s\n' "$tracking"
  printf '%s\n' "$tracking" | grep -q '^Leap status *: *Normal' || fail "chrony has not synchronised the clock"
elif command -v timedatectl >/dev/null && [ -d /run/systemd/system ]; then
  synchronised=$(timedatectl show --property=NTPSynchronized --value) || needs "systemd-timedated"
  timedatectl show
  [ "$synchronised" = yes ] || fail "the clock is not synchronised"
else
  needs "chronyc or timedatectl"
fi
echo "ok: the clock is synchronised"
