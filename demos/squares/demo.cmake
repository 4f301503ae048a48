# SPDX-License-Identifier: MIT
add_executable(squares "${CMAKE_CURRENT_LIST_DIR}/main.c" "${CMAKE_CURRENT_LIST_DIR}/table.c")
target_link_libraries(squares PRIVATE uvflow::uvflow)
