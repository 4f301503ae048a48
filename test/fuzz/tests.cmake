# SPDX-License-Identifier: MIT
#
# Every fuzz target replays its corpus, with any compiler. With -DUVF_FUZZ=ON, and clang, there is also a program of each
# that libFuzzer drives: test/fuzz/run builds and runs those.
option(UVF_FUZZ "Build the fuzz targets for libFuzzer (needs clang)" OFF)

file(GLOB fuzz_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/fuzz_*.c")
list(FILTER fuzz_sources EXCLUDE REGEX "/fuzz_replay\\.c$")
set(fuzz_library baggage.c baggage_put.c status.c text.c timeout.c trace.c)
list(TRANSFORM fuzz_library PREPEND "${PROJECT_SOURCE_DIR}/lib/serve/")
foreach(source IN LISTS fuzz_sources)
  cmake_path(GET source STEM target)
  string(REGEX REPLACE "^fuzz_" "" name "${target}")
  add_executable(replay_${name} "${source}" "${CMAKE_CURRENT_LIST_DIR}/fuzz_replay.c")
  target_link_libraries(replay_${name} PRIVATE uvflow_static)
  add_test(NAME fuzz/${name} COMMAND ${UVF_TEST_LAUNCHER} $<TARGET_FILE:replay_${name}> "${CMAKE_CURRENT_LIST_DIR}/corpus/${name}")
  uvf_test_common(fuzz/${name} fuzz 60 1)
  if(UVF_FUZZ)
    # The codecs once more, so that libFuzzer sees their branches. They call nothing of the rest.
    add_executable(${target} "${source}" ${fuzz_library})
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/lib")
    target_compile_options(${target} PRIVATE -O2 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_libraries(${target} PRIVATE uvflow::libuv)
  endif()
endforeach()
