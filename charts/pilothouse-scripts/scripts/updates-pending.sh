#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }

if command -v apt-get >/dev/null; then
  if [ "$REFRESH" = true ]; then
    [ "$(id -u)" -eq 0 ] || needs root
    apt-get -q -o DPkg::Lock::Timeout=60 -o APT::Update::Error-Mode=any update || fail "apt-get update failed"
  fi
  plan=$(apt-get -s -q -o Debug::NoLocking=true dist-upgrade) || fail "apt-get cannot tell what is pending"
  pending=$(printf '%s\n' "$plan" | grep '^Inst ') || true
  security=$(printf '%s\n' "$pending" | grep -ci security) || true
elif command -v dnf >/dev/null; then
  cache=--cacheonly
  [ "$REFRESH" = false ] || cache=--refresh
  pending=$(dnf -q "$cache" updateinfo list --available) || fail "dnf cannot tell what is pending"
  security=$(printf '%s\n' "$pending" | grep -c '/Sec\.') || true
else
  needs "apt-get or dnf"
fi
count=$(printf '%s' "$pending" | grep -c '') || true
[ -z "$pending" ] || printf '%s\n' "$pending"
echo "$count updates are pending, $security of them for security"
[ -z "$MAX" ] || [ "$count" -le "$MAX" ] || fail "$MAX pending updates are allowed"
[ -z "$MAX_SECURITY" ] || [ "$security" -le "$MAX_SECURITY" ] || fail "$MAX_SECURITY pending updates for security are allowed"
echo "ok: updates are within what is allowed"
