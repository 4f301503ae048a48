#!/bin/sh
# SPDX-License-Identifier: MIT
#
# flow_terminal.sh BATCH FETCHALL: on a terminal batch is drawn in place while it runs, and fetchall prints a table with
# colours, which NO_COLOR takes away.
set -eu
batch=$1
fetchall=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
escape=$(printf '\033')

fail() {
  echo "flow_terminal.sh: $1" >&2
  cat -v "$dir/out" >&2
  exit 1
}

script -qec "'$batch' --ascii --rate 12" /dev/null </dev/null >"$dir/out" || fail "batch: exit status not 0"
# Every drawing is taken away by going up as many lines as it had: those from `batch' to the next sequence.
tr -d '\r' <"$dir/out" | awk -v escape="$escape" '
  index($0, escape "[") {
    up = $0
    sub(/^[^[]*\[/, "", up)
    if (up + 0 != lines) { print "up " up + 0 " over " lines " lines"; exit 1 }
    wipes++
    lines = 0
  }
  { sub(/^.*\[J/, "") }
  $0 == "batch" { lines = 0 }
  { lines++ }
  END { if (wipes < 2) { print "drawn in place " wipes + 0 " times"; exit 1 } }' || fail "batch: not drawn in place"
grep -q "  24  letter   500 g    1.60  Shafi" "$dir/out" || fail "batch: no report"

# Nothing listens on port 1.
run_fetchall() {
  env "$1" script -qec "'$fetchall' --timeout-ms 5000 http://127.0.0.1:1/ http://127.0.0.1:1/x" /dev/null \
    </dev/null >"$dir/out" && fail "fetchall: exit status 0, not 1"
  grep -q "0 fetched, 2 failed; 0 bytes in " "$dir/out" || fail "fetchall: no totals"
  return 0
}

run_fetchall NO_COLOR=
grep -q "${escape}\[1mstatus " "$dir/out" || fail "fetchall: no bold heading"
grep -q "${escape}\[31m     -${escape}\[0m .* http://127.0.0.1:1/x  ${escape}\[31mconnection refused" "$dir/out" ||
  fail "fetchall: no colour"

run_fetchall NO_COLOR=1
grep -q "${escape}" "$dir/out" && fail "fetchall: a colour in spite of NO_COLOR"
grep -q "http://127.0.0.1:1/x  connection refused" "$dir/out" || fail "fetchall: no row"
echo "flow_terminal.sh: passed"
