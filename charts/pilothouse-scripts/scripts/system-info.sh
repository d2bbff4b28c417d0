#!/bin/sh
set -eu

name=unknown
[ ! -r /etc/os-release ] || name=$(. /etc/os-release && echo "${PRETTY_NAME:-$ID}")
echo "host:       $(uname -n)"
echo "system:     $name"
echo "kernel:     $(uname -r) $(uname -m)"
echo "processors: $(nproc)"
echo "memory:     $(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo) MiB"
echo "up:         $(awk '{ print int($1 / 86400) " days " int($1 % 86400 / 3600) " hours" }' /proc/uptime)"
if command -v systemd-detect-virt >/dev/null; then
  # It prints "none" and exits with 1 on a physical machine.
  echo "machine:    $(systemd-detect-virt || true)"
fi
if command -v ip >/dev/null; then
  echo "addresses:"
  ip -brief address | sed 's/^/  /'
fi
