#!/bin/sh
# SPDX-License-Identifier: MIT
#
# real_clients.sh GATEWAY CURL [WRK [SECONDS]]: a gateway asked by curl, over HTTP/1.1 and HTTP/2, answered and left
# half way, and loaded by wrk with 200 connections and deadlines that come for a third of its requests. What they see
# must be what the gateway counts, and afterwards nothing may be left.
set -eu
gateway=$1
curl=$2
wrk=${3:-none}
seconds=${4:-10}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
pid=

stop() {
  if [ -n "$pid" ]; then
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM

fail() {
  echo "FAILED: $1"
  for file in out err seen; do
    [ -s "$dir/$file" ] && sed "s/^/  $file: /" "$dir/$file"
  done
  exit 1
}

# --- the gateway ----------------------------------------------------------------------------------------------

start() {
  : >"$dir/out"
  "$gateway" --max-ms 30000 --lame-duck-ms 0 >"$dir/out" 2>"$dir/err" &
  pid=$!
  tries=0
  until grep -q 'listening on' "$dir/out"; do
    tries=$((tries + 1))
    [ "$tries" -lt 400 ] || fail "the gateway does not listen"
    sleep 0.05
  done
  app=$(sed -n 's|^gateway: listening on \(http://[^ ]*\) debug .*|\1|p' "$dir/out")
  debug=$(sed -n 's|^gateway: listening on .* debug \(http://[^ ]*\).*|\1|p' "$dir/out")
}

look() { "$curl" -s -o "$dir/counters" "$debug/counters" || fail "/counters does not answer"; }
count() { awk -v name="$1" '$1 == name { print $2 }' "$dir/counters"; }

# Descriptors of the gateway; 0 where the system doesn't show them.
descriptors() { if [ -d "/proc/$pid/fd" ]; then ls "/proc/$pid/fd" | wc -l; else echo 0; fi; }

# Until nothing is in flight and open, and it has as many descriptors as before. Connections to its own backends are
# kept for the next time: two descriptors each.
rest() {
  tries=0
  while :; do
    open=$(descriptors)
    look
    "$curl" -s -o "$dir/contexts" "$debug/contexts" || fail "/contexts does not answer"
    kept=$(awk '/"backends"/ { inside = 1; next } /^(├|└)/ { inside = 0 } inside && /"connection"/ { n++ }
      END { print n + 0 }' "$dir/contexts")
    more=$((open - before - 2 * kept))
    requests=$(grep -c '"/\(slow\|work\|fan\|echo\|healthz\)"' "$dir/contexts" || true)
    left="in flight $(count in_flight), connections $(count connections), jobs $(count jobs)"
    left="$left, requests in /contexts $requests, descriptors $more"
    [ "$(count in_flight) $(count connections) $(count jobs) $requests" != "0 0 0 0" ] || [ "$more" -gt 0 ] || return 0
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "$1: left behind: $left"
    sleep 0.05
  done
}

# --- curl -----------------------------------------------------------------------------------------------------

sent=0

# ask STATUS PATH [OPTION...]: curl must see that status.
ask() {
  wanted=$1 path=$2
  shift 2
  sent=$((sent + 1))
  status=$("$curl" -s -o "$dir/body" -w '%{http_code}' "$@" "$app$path" || true)
  [ "$status" = "$wanted" ] || fail "curl $* $path: status $status, not $wanted"
}

# leave PATH [OPTION...]: curl gives it up after 0.2 s.
leave() {
  path=$1
  shift
  sent=$((sent + 1))
  status=0
  "$curl" -s -o "$dir/body" -m 0.2 "$@" "$app$path" || status=$?
  [ "$status" -eq 28 ] || fail "curl $* $path: should have been given up, but ended with $status"
}

# with NAME OPTION...: all kinds of answers over one protocol.
with() {
  name=$1
  shift
  sent=0
  look
  begun=$(count begun) answered=$(count answered) left_before=$(count status_499)
  ask 200 /healthz "$@"
  ask 200 '/slow?ms=20' "$@"
  ask 200 '/work?ms=20' "$@"
  ask 200 '/fan?n=3&ms=5' "$@"
  ask 200 /echo "$@" --data-binary "@$dir/post"
  [ "$(cat "$dir/body")" = 3000 ] || fail "$name: /echo of 3000 bytes says $(cat "$dir/body")"
  ask 200 /healthz "$@" -I
  ask 400 '/slow?ms=1' "$@" -H 'grpc-timeout: soon'
  ask 404 /nothing "$@"
  ask 405 /slow "$@" -X DELETE
  ask 504 '/slow?ms=60000' "$@" -H 'grpc-timeout: 50m'
  ask 504 '/work?ms=60000' "$@" -H 'x-envoy-expected-rq-timeout-ms: 50'
  ask 504 '/fan?ms=60000' "$@" -H 'grpc-timeout: 50m'
  seen=$sent
  leave '/slow?ms=60000' "$@"
  leave '/work?ms=60000' "$@"
  leave '/fan?n=3&ms=60000' "$@"
  rest "$name"
  [ $(($(count begun) - begun)) -eq "$sent" ] || fail "$name: sent $sent, begun $(($(count begun) - begun))"
  answered=$(($(count answered) - answered))
  [ "$answered" -eq "$sent" ] || fail "$name: sent $sent, answered $answered"
  [ $(($(count status_499) - left_before)) -eq $((sent - seen)) ] || fail "$name: $(count status_499) counted as left"
  printf '%-34s  sent %d, answered %d: 200: 6, 400: 1, 404: 1, 405: 1, 504: 3; left half way %d; %s\n' "$name" "$sent" \
    "$seen" $((sent - seen)) "$left"
}

start
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "x" }' >"$dir/post"
"$curl" -s -o "$dir/body" "$app/healthz" || fail "/healthz does not answer"
sleep 0.1
before=$(descriptors)
with "curl, HTTP/1.1" --http1.1
if "$curl" --version | grep -q HTTP2; then
  with "curl, HTTP/2, prior knowledge" --http2-prior-knowledge
  with "curl, HTTP/2, by upgrade" --http2
else
  echo "this curl has no HTTP/2: left out"
fi

# --- wrk ------------------------------------------------------------------------------------------------------

if [ "$wrk" != none ]; then
  look
  begun=$(count begun) ok=$(count status_200) late=$(count status_504) gone=$(count status_499)
  "$wrk" -t2 -c200 -d"${seconds}s" -s "$here/thirds.lua" "$app" >"$dir/seen" || fail "wrk"
  rest wrk
  seen() { awk -v name="$1" '$1 == name { print $2 }' "$dir/seen"; }
  ok=$(($(count status_200) - ok)) late=$(($(count status_504) - late)) gone=$(($(count status_499) - gone))
  begun=$(($(count begun) - begun))
  unread=$((begun - $(seen status_200) - $(seen status_504) - gone))
  printf '%-34s  begun %d: 200: %d, 504: %d, 499: %d; seen by wrk: 200: %d, 504: %d, others: %d; %s\n' \
    "wrk, 200 connections, $seconds s" "$begun" "$ok" "$late" "$gone" "$(seen status_200)" "$(seen status_504)" \
    "$(seen status_other)" "$left"
  [ "$(seen status_other)" -eq 0 ] || fail "wrk saw other statuses"
  [ $((ok + late + gone)) -eq "$begun" ] || fail "the gateway counted others"
  [ $(((late + 200) * 3)) -ge "$begun" ] || fail "fewer deadlines came than a third"
  # When its time is over wrk leaves, without what has just been sent to it.
  [ "$unread" -ge 0 ] && [ "$unread" -le 200 ] || fail "$unread answers were not seen, on 200 connections"
  ! grep -q 'Socket errors' "$dir/seen" || fail "wrk had errors"
else
  echo "wrk was not found: left out"
fi

# --- the end --------------------------------------------------------------------------------------------------

kill -TERM "$pid"
status=0
wait "$pid" || status=$?
pid=
[ "$status" -eq 0 ] || fail "exit status $status"
last=$(tail -n 1 "$dir/out")
printf '%s; exit status %d\n' "$last" "$status"
echo "$last" | awk '{ for (i = 1; i <= NF; i++) { split($i, pair, "="); n[pair[1]] = pair[2] } }
  END { exit !(n["begun"] > 0 && n["begun"] == n["answered"] && n["cut"] == 0 && n["lost"] == 0) }' || fail "its count"
