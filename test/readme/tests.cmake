# SPDX-License-Identifier: MIT
#
# The example in README.md compiles without a warning, runs, and prints what README.md says.
set(folder "${CMAKE_CURRENT_BINARY_DIR}/readme")
add_custom_command(
  OUTPUT "${folder}/example.c" "${folder}/expected.txt"
  COMMAND "${CMAKE_COMMAND}" "-DREADME=${PROJECT_SOURCE_DIR}/README.md" "-DPROGRAM=${folder}/example.c" "-DEXPECTED=${folder}/expected.txt"
          -P "${CMAKE_CURRENT_LIST_DIR}/extract.cmake"
  DEPENDS "${PROJECT_SOURCE_DIR}/README.md" "${CMAKE_CURRENT_LIST_DIR}/extract.cmake"
  VERBATIM)
add_executable(readme_example "${folder}/example.c")
target_link_libraries(readme_example PRIVATE uvflow_static)
target_compile_options(readme_example PRIVATE -Wall -Wextra -Werror)
set_target_properties(readme_example PROPERTIES OUTPUT_NAME example RUNTIME_OUTPUT_DIRECTORY "${folder}")
add_test(NAME readme/example COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=$<TARGET_FILE:readme_example>" "-DEXPECTED=${folder}/expected.txt" -P
                                     "${CMAKE_CURRENT_LIST_DIR}/check.cmake")
uvf_test_common(readme/example readme 30 1)

# The first program a new user writes.
add_executable(readme_request "${CMAKE_CURRENT_LIST_DIR}/request.c")
target_link_libraries(readme_request PRIVATE uvflow_static)
target_compile_options(readme_request PRIVATE -Wall -Wextra -Werror)
set_target_properties(readme_request PROPERTIES OUTPUT_NAME request RUNTIME_OUTPUT_DIRECTORY "${folder}")
add_test(
  NAME readme/request
  COMMAND
    "${CMAKE_COMMAND}" "-DPROGRAM=$<TARGET_FILE:readme_request>"
    "-DLINES=(fast) result 10|(slow) failed: ETIMEDOUT, cause ETIMEDOUT|(fast) freed|(slow) freed|uv_loop_close 0" -P
    "${CMAKE_CURRENT_LIST_DIR}/check_lines.cmake")
uvf_test_common(readme/request readme 60 1)
