# SPDX-License-Identifier: MIT
#
# uvf_bench, and a test that it runs. Nothing here depends on how fast anything is.
# With the shared library, as most users have it, and as libuv itself is linked here: both pay the same for a call.
add_executable(
  uvf_bench
  "${CMAKE_CURRENT_LIST_DIR}/bench_main.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_run.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_spawn.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_table.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_loop.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_raw.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_context.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_tree.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_value.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_bytes.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_watch.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_thread.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_job.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_flow.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_queue.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_chan.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_chan_thread.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pong.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pong_thread.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_wake.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_select.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_sync.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_turn.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_group.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_request.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_loop.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_ours.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_raw.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_task.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_work.c")
target_link_libraries(uvf_bench PRIVATE uvflow::uvflow)
set_target_properties(uvf_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/bench")

add_test(NAME bench_runs COMMAND "${CMAKE_COMMAND}" "-DBENCH=$<TARGET_FILE:uvf_bench>"
                                 "-DJSON=${CMAKE_CURRENT_BINARY_DIR}/bench/bench_runs.jsonl" -P
                                 "${CMAKE_CURRENT_LIST_DIR}/bench_runs.cmake")
set_tests_properties(bench_runs PROPERTIES LABELS bench TIMEOUT 120)
