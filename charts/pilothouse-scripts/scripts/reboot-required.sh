#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

why=
if [ -f /run/reboot-required ]; then
  why="packages ask for it: $(cat /run/reboot-required.pkgs 2>/dev/null | sort -u | paste -s -d ' ')"
fi
running=$(uname -r)
echo "running kernel: $running"
newest=$(find /boot -maxdepth 1 -name 'vmlinuz-[0-9]*' -printf '%f\n' 2>/dev/null | sed 's/^vmlinuz-//' | sort -V | tail -n 1)
# A kernel that was started from elsewhere says nothing about those in /boot.
if [ -n "$newest" ] && [ -f "/boot/vmlinuz-$running" ] && [ "$newest" != "$running" ]; then
  why="${why:+$why; }kernel $newest is installed and not running"
fi
if [ -z "$why" ] && command -v needs-restarting >/dev/null && ! needs-restarting -r >/dev/null 2>&1; then
  why="needs-restarting says so"
fi
[ -z "$why" ] || fail "a reboot is required: $why"
echo "ok: no reboot is required"
