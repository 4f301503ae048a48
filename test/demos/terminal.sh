#!/bin/sh
# SPDX-License-Identifier: MIT
#
# terminal.sh FANOUT: on a terminal there are colours and a line of progress, which is wiped; NO_COLOR takes the colours
# away.
set -eu
fanout=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
escape=$(printf '\033')

fail() {
  echo "terminal.sh: $1" >&2
  cat -v "$dir/out" >&2
  exit 1
}

# Nothing listens on port 1; 192.0.2.1 (TEST-NET-1) answers nothing, or cannot be reached: either way it has its row.
run_on_terminal() {
  env "$1" LC_ALL=C.UTF-8 script -qec "'$fanout' --timeout 400 http://127.0.0.1:1/ http://192.0.2.1/" /dev/null \
    </dev/null >"$dir/out" && fail "exit status 0, not 1"
  return 0
}

run_on_terminal NO_COLOR=
grep -q "${escape}\[31mfailed" "$dir/out" || fail "no colour on the outcome"
grep -q "${escape}\[1mURL" "$dir/out" || fail "no bold heading"
grep -q "2 requests: " "$dir/out" || fail "no totals"
grep -q "$(printf '\342\224\201')" "$dir/out" || fail "no bar in UTF-8"

run_on_terminal NO_COLOR=1
grep -q "${escape}\[31m" "$dir/out" && fail "a colour in spite of NO_COLOR"
grep -q "2 requests: " "$dir/out" || fail "no totals"

# A run that lasts has a line of progress, which is wiped before the table. Its own servers make it last, if it has any.
if "$fanout" >/dev/null 2>&1; then
  env LC_ALL=C script -qec "'$fanout'" /dev/null </dev/null >"$dir/out" || fail "own servers: exit status not 0"
  grep -q "of 12 done, .* under way" "$dir/out" || fail "no line of progress"
  grep -q "$(printf '\r')${escape}\[K${escape}\[1mURL" "$dir/out" || fail "the line of progress was not wiped"
fi
echo "terminal.sh: passed"
