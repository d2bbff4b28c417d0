#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v apt-mark >/dev/null || needs "apt-mark (package apt)"

if [ "$ACTION" != show ]; then
  [ "$(id -u)" -eq 0 ] || needs root
  [ -n "$PACKAGE" ] || fail "PACKAGE says which package"
  dpkg-query -W -f '${Package} ${Version}\n' -- "$PACKAGE" 2>/dev/null || fail "there is no package $PACKAGE on this host"
  apt-mark "$ACTION" "$PACKAGE"
fi
held=$(apt-mark showhold)
case $ACTION in
  hold) printf '%s\n' "$held" | grep -qxF -e "$PACKAGE" || fail "$PACKAGE is not held" ;;
  unhold) ! printf '%s\n' "$held" | grep -qxF -e "$PACKAGE" || fail "$PACKAGE is still held" ;;
esac
echo "ok: held are: $(printf '%s' "${held:-none}" | paste -s -d ' ')"
