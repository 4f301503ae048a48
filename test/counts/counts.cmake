# SPDX-License-Identifier: MIT
#
# uvf_counts, whose instructions test/counts/run counts: rows of uvf_bench without its harness. With shared libraries,
# since functions of its own stand in the place of some of theirs.
set(counts_bench
    bench_loop.c bench_raw.c bench_context.c bench_tree.c bench_value.c bench_watch.c bench_request.c bench_chan.c
    bench_flow.c bench_queue.c bench_select.c bench_sync.c bench_group.c bench_job.c bench_pipe.c bench_pipe_ours.c
    bench_pipe_raw.c bench_pipe_task.c)
list(TRANSFORM counts_bench PREPEND "${CMAKE_CURRENT_LIST_DIR}/../bench/")
add_executable(uvf_counts "${CMAKE_CURRENT_LIST_DIR}/counts.c" ${counts_bench})
target_link_libraries(uvf_counts PRIVATE uvflow::uvflow)
set_target_properties(uvf_counts PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/counts")

# Where the compiler or the processor is not the baseline's it is skipped.
find_program(UVF_VALGRIND valgrind)
if(UVF_VALGRIND AND CMAKE_BUILD_TYPE STREQUAL "Release")
  add_test(NAME counts/guard COMMAND "${CMAKE_CURRENT_LIST_DIR}/run" --program $<TARGET_FILE:uvf_counts>)
  set_tests_properties(counts/guard PROPERTIES LABELS counts TIMEOUT 120 PROCESSORS 4 SKIP_RETURN_CODE 77)
endif()
