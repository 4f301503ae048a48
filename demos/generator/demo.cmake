# SPDX-License-Identifier: MIT
add_executable(generator "${CMAKE_CURRENT_LIST_DIR}/main.c")
target_link_libraries(generator PRIVATE uvflow::uvflow)
