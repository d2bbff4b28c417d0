#!/bin/sh
set -eu
needs() { echo "needs $*"; exit 3; }
command -v ps >/dev/null || needs "ps (package procps)"

key=pcpu
[ "$SORT" = cpu ] || key=rss
ps -eo pid,user:16,pcpu,pmem,rss,etime,comm --sort="-$key" | head -n "$((COUNT + 1))"
