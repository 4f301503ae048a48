# SPDX-License-Identifier: MIT
add_executable(echo_timeout "${CMAKE_CURRENT_LIST_DIR}/main.c")
target_link_libraries(echo_timeout PRIVATE uvflow::uvflow)
