#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ -d /run/systemd/system ] || needs systemd
[ "$(id -u)" -eq 0 ] || needs root

state() { systemctl show --property=ActiveState --value -- "$UNIT"; }

[ "$(systemctl show --property=LoadState --value -- "$UNIT")" = loaded ] || fail "there is no unit $UNIT that could be started"
echo "$UNIT is $(state)"
if [ "$DRY_RUN" = true ]; then
  echo "ok: would do systemctl $ACTION $UNIT; set DRY_RUN to false to do so"
  exit 0
fi
done=0
timeout "$WAIT" systemctl "$ACTION" -- "$UNIT" || done=$?
# Some services end a moment after they have started, so a single look is not enough.
sleep 2
if [ "$done" -ne 0 ] || [ "$(state)" != active ]; then
  journalctl --no-pager --quiet --lines=20 --unit "$UNIT" 2>/dev/null || true
  fail "after $ACTION $UNIT is $(state)"
fi
echo "ok: $UNIT is active after $ACTION, main process $(systemctl show --property=MainPID --value -- "$UNIT")"
