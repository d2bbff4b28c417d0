#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
command -v ssh-keygen >/dev/null || needs "ssh-keygen (package openssh-client)"
# Homes of others are closed to anybody else.
[ "$(id -u)" -eq 0 ] || needs root

keys=$(getent passwd | while IFS=: read -r user _ _ _ _ home _; do
  for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
    [ -f "$file" ] || continue
    ssh-keygen -l -f "$file" 2>/dev/null | sed "s|^|$user: |" || true
  done
done | sort -u)
if [ -z "$keys" ]; then
  echo "ok: no key opens an account"
  exit 0
fi
printf '%s\n' "$keys"
weak=$(printf '%s\n' "$keys" | awk -v bits="$MIN_RSA_BITS" '/\(DSA\)$/ || (/\(RSA\)$/ && $2 < bits) { print $1 " " $3 }')
[ -z "$weak" ] || fail "keys are too weak: $(printf '%s\n' "$weak" | paste -s -d ',')"
echo "ok: $(printf '%s\n' "$keys" | wc -l) keys open accounts"
