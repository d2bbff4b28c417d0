#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

case $MINUTES in 1) column=1 ;; 5) column=2 ;; *) column=3 ;; esac
load=$(cut -d ' ' -f "$column" /proc/loadavg)
processors=$(nproc)
echo "load $(cut -d ' ' -f 1-3 /proc/loadavg) on $processors processors"
awk -v mean="$load" -v limit="$PER_PROCESSOR" -v processors="$processors" 'BEGIN { exit !(mean / processors < limit) }' ||
  fail "the load over $MINUTES minutes is $load, which is $PER_PROCESSOR or more for each processor"
echo "ok: the load over $MINUTES minutes is below $PER_PROCESSOR for each processor"
