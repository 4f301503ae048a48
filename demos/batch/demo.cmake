# SPDX-License-Identifier: MIT
add_executable(batch "${CMAKE_CURRENT_LIST_DIR}/main.c" "${CMAKE_CURRENT_LIST_DIR}/mail.c" "${CMAKE_CURRENT_LIST_DIR}/live.c")
target_link_libraries(batch PRIVATE uvflow::uvflow)
