# SPDX-License-Identifier: MIT
#
# Every example in README.md compiles without a warning, runs, and prints what README.md says. A whole program is taken as it is;
# a fragment is included by the file of this folder that is called as it is, after its heading, and made a program there.
include("${CMAKE_CURRENT_LIST_DIR}/extract.cmake")
set(folder "${CMAKE_CURRENT_BINARY_DIR}/readme")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/README.md")
readme_blocks("${PROJECT_SOURCE_DIR}/README.md" "${folder}" names)
if(NOT names)
  message(FATAL_ERROR "README.md has no example")
endif()

file(GLOB wrappers CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.c")
list(REMOVE_ITEM wrappers "${CMAKE_CURRENT_LIST_DIR}/request.c")
foreach(name IN LISTS names)
  set(source "${folder}/${name}.c")
  if(NOT EXISTS "${source}")
    set(source "${CMAKE_CURRENT_LIST_DIR}/${name}.c")
    if(NOT source IN_LIST wrappers)
      message(FATAL_ERROR "README.md has a fragment that never runs: ${source} must include \"${name}.inc\" and make it a program")
    endif()
    list(REMOVE_ITEM wrappers "${source}")
  endif()
  set(expected)
  if(EXISTS "${folder}/${name}.txt")
    set(expected "-DEXPECTED=${folder}/${name}.txt")
  endif()
  add_executable(readme_${name} "${source}")
  target_include_directories(readme_${name} PRIVATE "${folder}")
  target_link_libraries(readme_${name} PRIVATE uvflow_static)
  target_compile_options(readme_${name} PRIVATE -Wall -Wextra -Werror)
  set_target_properties(readme_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${folder}")
  add_test(NAME readme/${name} COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=$<TARGET_FILE:readme_${name}>" ${expected} -P
                                       "${CMAKE_CURRENT_LIST_DIR}/check.cmake")
  uvf_test_common(readme/${name} readme 30 1)
endforeach()
if(wrappers)
  message(FATAL_ERROR "README.md has no example for ${wrappers}")
endif()

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
