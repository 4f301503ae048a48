# SPDX-License-Identifier: MIT
add_executable(echo_timeout "${CMAKE_CURRENT_LIST_DIR}/main.c")
target_link_libraries(echo_timeout PRIVATE uvflow::uvflow)
if(WIN32) # has no SIGPIPE, and never raises SIGTERM: to ignore that one changes nothing
  target_compile_definitions(echo_timeout PRIVATE SIGPIPE=SIGTERM)
endif()
