#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }
needs() { echo "needs $*"; exit 3; }
[ "$(id -u)" -eq 0 ] || needs root

found=
rules=
for tool in "nft list ruleset" iptables-save ip6tables-save; do
  command -v "${tool%% *}" >/dev/null || continue
  found=yes
  # A kernel without the tables has no rules either; the tool says so on its own.
  said=$($tool 2>&1) || said="$tool: $said"
  echo "$tool:"
  printf '%s\n' "$said" | sed 's/^/  /'
  ! printf '%s\n' "$said" | grep -qE '^(-A |[[:space:]]+(ip|tcp|udp|iif|oif|ct|meta|accept|drop|reject|counter))' || rules=yes
done
[ -n "$found" ] || needs "nft or iptables-save"
[ -n "$rules" ] || [ "$REQUIRED" = false ] || fail "there is no firewall rule"
echo "ok: rules of the firewall are listed"
