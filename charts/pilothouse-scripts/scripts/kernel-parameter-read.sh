#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

# With a slash in it a name is written as a path, for interfaces that have a dot in their names.
case $NAME in */*) path=$NAME ;; *) path=$(printf '%s' "$NAME" | tr . /) ;; esac
[ -f "/proc/sys/$path" ] || fail "this kernel has no parameter $NAME"
value=$(cat "/proc/sys/$path") || fail "$NAME cannot be read"
echo "$NAME = $value"
