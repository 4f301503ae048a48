# SPDX-License-Identifier: MIT
add_executable(search_timeout "${CMAKE_CURRENT_LIST_DIR}/main.c")
target_link_libraries(search_timeout PRIVATE uvflow::uvflow)
