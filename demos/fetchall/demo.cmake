# SPDX-License-Identifier: MIT
find_package(CURL QUIET)
if(NOT CURL_FOUND)
  message(STATUS "Demo fetchall: skipped, libcurl was not found (Debian: apt-get install libcurl4-openssl-dev)")
  return()
endif()

# curl on the loop is fanout's; the table of the stages is that of squares.
add_executable(
  fetchall
  "${CMAKE_CURRENT_LIST_DIR}/main.c" "${CMAKE_CURRENT_LIST_DIR}/pages.c" "${CMAKE_CURRENT_LIST_DIR}/lines.c"
  "${CMAKE_CURRENT_LIST_DIR}/print.c" "${CMAKE_CURRENT_LIST_DIR}/../fanout/http.c"
  "${CMAKE_CURRENT_LIST_DIR}/../squares/table.c")
target_link_libraries(fetchall PRIVATE uvflow::uvflow CURL::libcurl)
