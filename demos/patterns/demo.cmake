# SPDX-License-Identifier: MIT
#
# One small program for each pattern; the targets are called pattern_<name>, the programs <name>.
set(patterns fan_in fan_out drop timeout tracker servers list_dir)
find_package(CURL QUIET)
if(CURL_FOUND)
  list(APPEND patterns errgroup)
else()
  message(STATUS "Demo patterns: without errgroup, libcurl was not found (Debian: apt-get install libcurl4-openssl-dev)")
endif()
foreach(pattern IN LISTS patterns)
  add_executable(pattern_${pattern} "${CMAKE_CURRENT_LIST_DIR}/${pattern}.c")
  target_link_libraries(pattern_${pattern} PRIVATE uvflow::uvflow)
  set_target_properties(pattern_${pattern} PROPERTIES OUTPUT_NAME ${pattern})
endforeach()
if(TARGET pattern_errgroup)
  target_link_libraries(pattern_errgroup PRIVATE CURL::libcurl)
endif()
