#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ -d /run/systemd/system ] || needs systemd

systemctl show --property=Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,ActiveEnterTimestamp -- "$UNIT"
[ "$(systemctl show --property=LoadState --value -- "$UNIT")" != not-found ] || fail "there is no unit $UNIT"
state=$(systemctl show --property=ActiveState --value -- "$UNIT")
[ "$state" = "$EXPECTED" ] || fail "$UNIT is $state, expected was $EXPECTED"
echo "ok: $UNIT is $state"
