# SPDX-License-Identifier: MIT
#
# uvf_bench, and a test that it runs. Nothing here depends on how fast anything is.
# With the shared library, as most users have it, and as libuv itself is linked here: both pay the same for a call.
set(UVF_BENCH_REPORTS
    "${CMAKE_CURRENT_LIST_DIR}/bench_report.c" "${CMAKE_CURRENT_LIST_DIR}/bench_axis.c"
    "${CMAKE_CURRENT_LIST_DIR}/bench_chart.c" "${CMAKE_CURRENT_LIST_DIR}/bench_svg.c"
    "${CMAKE_CURRENT_LIST_DIR}/bench_markdown.c")
add_executable(
  uvf_bench
  "${CMAKE_CURRENT_LIST_DIR}/bench_main.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_run.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_spawn.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_child.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_table.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_side.c"
  ${UVF_BENCH_REPORTS}
  "${CMAKE_CURRENT_LIST_DIR}/bench_peer.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_json.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_loop.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_raw.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_context.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_tree.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_chain.c"
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
  "${CMAKE_CURRENT_LIST_DIR}/bench_blocks.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_loop.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_ours.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_raw.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_task.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_pipe_work.c"
  "${CMAKE_CURRENT_LIST_DIR}/bench_md5.c")
target_link_libraries(uvf_bench PRIVATE uvflow::uvflow m)
set_target_properties(uvf_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/bench")

add_test(NAME bench_runs COMMAND "${CMAKE_COMMAND}" "-DBENCH=$<TARGET_FILE:uvf_bench>"
                                 "-DJSON=${CMAKE_CURRENT_BINARY_DIR}/bench/bench_runs.jsonl"
                                 "-DMD5ALL=$<$<TARGET_EXISTS:md5all>:$<TARGET_FILE:md5all>>"
                                 "-DTREE=${CMAKE_CURRENT_LIST_DIR}/md5/tree" -P
                                 "${CMAKE_CURRENT_LIST_DIR}/bench_runs.cmake")
set_tests_properties(bench_runs PROPERTIES LABELS bench TIMEOUT 120)

# The reports, of made-up outcomes.
if(UVF_BUILD_TESTS)
  add_executable(bench_report "${CMAKE_CURRENT_LIST_DIR}/test_report.c" "${CMAKE_CURRENT_LIST_DIR}/bench_loop.c"
                              ${UVF_BENCH_REPORTS})
  target_link_libraries(bench_report PRIVATE uvflow_test_support m)
  set_target_properties(bench_report PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/bench")
  add_test(NAME bench_report COMMAND ${UVF_TEST_LAUNCHER} $<TARGET_FILE:bench_report>
           WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/bench")
  uvf_test_common(bench_report bench 60 1)
endif()

include("${CMAKE_CURRENT_LIST_DIR}/peers/peers.cmake")
