#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }

if command -v dpkg-query >/dev/null; then
  version=$(dpkg-query -W -f '${db:Status-Status} ${Version}' -- "$PACKAGE" 2>/dev/null) || version=
  case $version in "installed "*) version=${version#installed } ;; *) fail "$PACKAGE is not installed" ;; esac
elif command -v rpm >/dev/null; then
  version=$(rpm -q --queryformat '%{VERSION}-%{RELEASE}' -- "$PACKAGE") || fail "$PACKAGE is not installed"
else
  needs "dpkg-query or rpm"
fi
echo "$PACKAGE $version"
if [ -n "$MINIMUM" ]; then
  if command -v dpkg >/dev/null; then
    dpkg --compare-versions "$version" ge "$MINIMUM" || fail "$PACKAGE is older than $MINIMUM"
  else
    [ "$(printf '%s\n%s\n' "$MINIMUM" "$version" | sort -V | head -n 1)" = "$MINIMUM" ] || fail "$PACKAGE is older than $MINIMUM"
  fi
fi
echo "ok: $PACKAGE is installed"
