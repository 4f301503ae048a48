# SPDX-License-Identifier: MIT
find_package(OpenSSL 3.0 QUIET)
if(NOT TARGET OpenSSL::Crypto)
  message(STATUS "Demo md5all: skipped, OpenSSL 3 was not found (Debian: apt-get install libssl-dev)")
  return()
endif()

set(md5all_sources main.c options.c walk.c digest.c tally.c serial.c parallel.c bounded.c progress.c report.c)
list(TRANSFORM md5all_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
add_executable(md5all ${md5all_sources})
target_link_libraries(md5all PRIVATE uvflow::uvflow OpenSSL::Crypto)
