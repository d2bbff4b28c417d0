#!/bin/sh
set -eu
fail() { echo "failed: $*"; exit 1; }

wrong=
for pair in $EXPECTED; do
  name=${pair%%=*}
  wanted=$(printf '%s' "${pair#*=}" | tr , ' ')
  case $name in */*) path=$name ;; *) path=$(printf '%s' "$name" | tr . /) ;; esac
  if [ -r "/proc/sys/$path" ]; then
    value=$(tr -s '[:space:]' ' ' < "/proc/sys/$path" | sed 's/ $//')
  else
    value="not there"
  fi
  echo "$name = $value"
  [ "$value" = "$wanted" ] || wrong="$wrong $name"
done
[ -z "$wrong" ] || fail "these differ from $EXPECTED:$wrong"
echo "ok: kernel parameters are as expected"
