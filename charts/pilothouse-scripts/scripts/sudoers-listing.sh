#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ "$(id -u)" -eq 0 ] || needs root
[ -f /etc/sudoers ] || needs sudo

rules=$(for file in /etc/sudoers /etc/sudoers.d/*; do
  [ -f "$file" ] || continue
  # A name with a dot or a tilde at its end is not read by sudo.
  case ${file##*/} in *.* | *~) continue ;; esac
  sed -e '/^[[:space:]]*\(#[^0-9i]\|#$\|$\)/d' -e "s|^|$file: |" "$file"
done)
printf '%s\n' "$rules"
for group in sudo wheel admin; do
  getent group "$group" | awk -F ':' '$4 != "" { print "members of " $1 ": " $4 }'
done
if command -v visudo >/dev/null; then
  visudo -c -q || fail "sudo cannot read its rules"
fi
if [ "$NOPASSWD" = refuse ] && printf '%s\n' "$rules" | grep -q NOPASSWD; then
  fail "rules ask for no password"
fi
echo "ok: rules of sudo are listed"
