#!/bin/sh
# SPDX-License-Identifier: MIT
#
# nginx.sh FANOUT NGINX [VALGRIND|none]: fanout against a real nginx on the loopback interface.
#
#   /fast answers; /fail says 500; /hang is passed on to a server that takes the request and never answers; /slow gives
#   one kilobyte a second, of a hundred.
#
# --timeout 300 has to end the whole program within 350 ms, with the right outcome on each line, and valgrind must find
# no leak.
set -eu
fanout=$1
nginx=$2
valgrind=${3:-none}
limit_ms=${FANOUT_LIMIT_MS:-350}
dir=$(mktemp -d)
nginx_pid=

stop() {
  if [ -n "$nginx_pid" ]; then
    kill "$nginx_pid" 2>/dev/null || true
    wait "$nginx_pid" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM

fail() {
  echo "nginx.sh: $1" >&2
  for file in out err valgrind nginx.log; do
    [ -s "$dir/$file" ] && sed "s/^/$file: /" "$dir/$file" >&2
  done
  exit 1
}

# --- nginx ----------------------------------------------------------------------------------------------------

# nginx cannot be asked for a free port: pairs are tried one after the other. The hanging server is nginx too, on the
# second port: one request a minute is let through, and the others are held back, which looks like a server that took
# the request and never answers.
write_config() {
  cat >"$dir/nginx.conf" <<CONF
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/nginx.log notice;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  limit_req_zone \$server_port zone=hang:1m rate=1r/m;
  server {
    listen 127.0.0.1:$1;
    root $dir/www;
    location /fast { return 200 "fast\n"; }
    location /fail { return 500 "no\n"; }
    location /hang { proxy_pass http://127.0.0.1:$2; proxy_read_timeout 60s; }
    location /slow { limit_rate 1000; }
  }
  server {
    listen 127.0.0.1:$2;
    root $dir/www;
    location / { limit_req zone=hang burst=10; }
  }
}
CONF
}

mkdir "$dir/www"
awk 'BEGIN { for (i = 0; i < 10000; i++) print "slow data" }' >"$dir/www/slow"
printf 'was asked before\n' >"$dir/www/hang"
chmod 755 "$dir" "$dir/www"

# up PORT: nginx itself must be there, and answer.
up() {
  tries=0
  while [ "$tries" -lt 100 ]; do
    kill -0 "$nginx_pid" 2>/dev/null || return 1
    if "$fanout" --timeout 1000 "http://127.0.0.1:$1/fast" >/dev/null 2>&1; then return 0; fi
    tries=$((tries + 1))
    sleep 0.05
  done
  return 1
}

attempt=0
port=
while [ -z "$port" ]; do
  [ "$attempt" -lt 20 ] || fail "nginx did not start on any port"
  try=$((20000 + ($$ * 7 + attempt * 911) % 12000))
  write_config "$try" "$((try + 1))"
  "$nginx" -p "$dir" -c "$dir/nginx.conf" 2>>"$dir/nginx.log" &
  nginx_pid=$!
  if up "$try"; then
    port=$try
  else
    kill "$nginx_pid" 2>/dev/null || true
    wait "$nginx_pid" 2>/dev/null || true
    nginx_pid=
  fi
  attempt=$((attempt + 1))
done
base=http://127.0.0.1:$port
# The one request that /hang lets through.
"$fanout" --timeout 5000 "$base/hang" >"$dir/out" 2>"$dir/err" || fail "the first request of /hang was not answered"

# --- outcomes and time ----------------------------------------------------------------------------------------

now_ms() { echo "$(($(date +%s%N) / 1000000))"; }

# line URL PATTERN: exactly one line of the output has both.
line() {
  n=$(grep -c "^$base/$1 *$2" "$dir/out" || true)
  [ "$n" -eq 1 ] || fail "$n lines for /$1 that are: $2"
}

check_outcomes() {
  line fast "ok  .* 200 "
  line fail "failed  .* 500 .*HTTP status 500"
  line hang "deadline  .* - .*--timeout $1 ms is over"
  line slow "deadline  .* 200 .*--timeout $1 ms is over"
  grep -q "^4 requests: 1 ok, 1 failed, 2 deadline;" "$dir/out" || fail "wrong totals"
  grep -q "^ended: --timeout $1 ms is over\$" "$dir/out" || fail "wrong cause"
}

# The outcomes and the lower bound hold in every run. On a machine that is busy with other things a run may be late
# through no fault of fanout's: three runs of ten must be in time.
run=0
in_time=0
while [ "$in_time" -lt 3 ]; do
  [ "$run" -lt 10 ] || fail "of $run runs only $in_time ended within $limit_ms ms; the last took $took ms"
  run=$((run + 1))
  from=$(now_ms)
  status=0
  "$fanout" --timeout 300 "$base/fast" "$base/fail" "$base/hang" "$base/slow" >"$dir/out" 2>"$dir/err" || status=$?
  took=$(($(now_ms) - from))
  [ "$status" -eq 1 ] || fail "exit status $status, not 1"
  check_outcomes 300
  [ "$took" -ge 300 ] || fail "it ended after $took ms, before its deadline"
  [ "$took" -gt "$limit_ms" ] || in_time=$((in_time + 1))
  echo "nginx.sh: --timeout 300 ended after $took ms"
done
cat "$dir/out"

# --- leaks ----------------------------------------------------------------------------------------------------

if [ "$valgrind" != none ]; then
  status=0
  "$valgrind" --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all --error-exitcode=99 \
    --log-file="$dir/valgrind" "$fanout" --timeout 3000 --hedge 200 \
    "$base/fast" "$base/fail" "$base/hang" "$base/slow" >"$dir/out" 2>"$dir/err" || status=$?
  [ "$status" -eq 1 ] || fail "under valgrind: exit status $status, not 1"
  grep -q "All heap blocks were freed -- no leaks are possible" "$dir/valgrind" ||
    fail "valgrind found blocks that were not freed"
  check_outcomes 3000
  echo "nginx.sh: valgrind found no leak"
else
  echo "nginx.sh: without valgrind"
fi
echo "nginx.sh: passed"
