-- SPDX-License-Identifier: MIT
-- For wrk: of three requests one has a deadline that comes first (504), one waits (200), one is answered at once (200).
-- Prints the statuses seen, as "status_200 17".
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  late = wrk.format("GET", "/slow?ms=60000", { ["grpc-timeout"] = "40m" })
  slow = wrk.format("GET", "/slow?ms=10")
  quick = wrk.format("GET", "/healthz")
  number, ok, deadline, other = 0, 0, 0, 0
end

function request()
  number = number + 1
  local which = number % 3
  return which == 0 and late or which == 1 and slow or quick
end

function response(status)
  if status == 200 then
    ok = ok + 1
  elseif status == 504 then
    deadline = deadline + 1
  else
    other = other + 1
  end
end

function done()
  local sum = { ok = 0, deadline = 0, other = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sum) do
      sum[name] = sum[name] + thread:get(name)
    end
  end
  io.write(string.format("status_200 %d\nstatus_504 %d\nstatus_other %d\n", sum.ok, sum.deadline, sum.other))
end
