# SPDX-License-Identifier: MIT
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(GATEWAY_H2O QUIET IMPORTED_TARGET libh2o)
endif()
if(NOT GATEWAY_H2O_FOUND)
  message(STATUS "Demo gateway: skipped, libh2o was not found (Debian: apt-get install libh2o-dev)")
  return()
endif()

# The same server without uvflow, to compare with.
add_executable(gateway_bare "${CMAKE_CURRENT_LIST_DIR}/bare.c")
target_link_libraries(gateway_bare PRIVATE uvflow::libuv PkgConfig::GATEWAY_H2O)

find_package(CURL QUIET)
if(NOT CURL_FOUND)
  message(STATUS "Demo gateway: skipped, libcurl was not found (Debian: apt-get install libcurl4-openssl-dev)")
  return()
endif()

# curl on the loop is fanout's.
set(gateway_sources
    main.c options.c server.c listener.c conn.c request.c head.c counters.c stats.c debug.c simple.c work.c fan.c backends.c
    ../fanout/headers.c ../fanout/http.c)
list(TRANSFORM gateway_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
add_executable(gateway ${gateway_sources})
target_link_libraries(gateway PRIVATE uvflow::uvflow CURL::libcurl PkgConfig::GATEWAY_H2O)
