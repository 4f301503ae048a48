#!/bin/sh
# SPDX-License-Identifier: MIT
#
# md5all_terminal.sh MD5ALL: on a terminal there is a line of progress, which tells the time that is left once the walk
# is over, and which is wiped.
set -eu
md5all=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
escape=$(printf '\033')

fail() {
  echo "md5all_terminal.sh: $1" >&2
  cat -v "$dir/out" >&2
  exit 1
}

# Zeros that take no room, and long enough to show something.
mkdir "$dir/tree"
truncate -s 512M "$dir/tree/zeros"

# The walk of the serial mode is not over while it digests; that of the pipeline is.
run_on_terminal() {
  script -qec "'$md5all' $* '$dir/tree'" /dev/null </dev/null >"$dir/out" || fail "exit status not 0"
  grep -q "aa559b4e3523a6c931f08f4df52d58f2  $dir/tree/zeros" "$dir/out" || fail "no digest, or a wrong one"
}
run_on_terminal --mode serial
grep -q "0 files done, 1 found so far; .* MB, .* MB/s" "$dir/out" || fail "no line of progress"
grep -q "$(printf '\r')${escape}\[Kaa559b4e" "$dir/out" || fail "the line of progress was not wiped"

truncate -s 1 "$dir/tree/one"
run_on_terminal
grep -q "\[############\.\{12\}\] 1 of 2 files; .* MB, .* MB/s; about [0-9]* s left" "$dir/out" || fail "no bar"
grep -q "$(printf '\r')${escape}\[K[0-9a-f]*  $dir/tree/one" "$dir/out" || fail "the bar was not wiped"

run_on_terminal --no-progress
grep -q "so far\|files;" "$dir/out" && fail "progress in spite of --no-progress"
echo "md5all_terminal.sh: passed"
