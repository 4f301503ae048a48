# SPDX-License-Identifier: MIT
#
# The demos run as children of the test programs, which check what they print, how they exit and how long they take.
set(demo_tests "${CMAKE_CURRENT_LIST_DIR}")

function(uvf_demo_test name timeout)
  add_executable(demo_test_${name} ${demo_tests}/test_${name}.c ${demo_tests}/child.c ${demo_tests}/json.c
                                   ${demo_tests}/server.c ${demo_tests}/world.c)
  target_link_libraries(demo_test_${name} PRIVATE uvflow_test_support)
  target_compile_definitions(demo_test_${name} PRIVATE UVF_TEST_SLOWDOWN=${UVF_TEST_SLOWDOWN} ${ARGN})
  set_target_properties(demo_test_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY
                                                                         "${CMAKE_CURRENT_BINARY_DIR}/demos")
  add_test(NAME demos/${name} COMMAND demo_test_${name})
  uvf_test_common(demos/${name} demos ${timeout} 1)
endfunction()

if(TARGET search_timeout AND TARGET generator)
  uvf_demo_test(small 60 "SEARCH_TIMEOUT=\"$<TARGET_FILE:search_timeout>\"" "GENERATOR=\"$<TARGET_FILE:generator>\"")
  add_dependencies(demo_test_small search_timeout generator)
endif()

if(TARGET pattern_fan_in)
  uvf_demo_test(patterns 60 "PATTERNS=\"$<TARGET_FILE_DIR:pattern_fan_in>\"" "PATTERN_SUFFIX=\"${CMAKE_EXECUTABLE_SUFFIX}\""
                $<$<TARGET_EXISTS:pattern_errgroup>:HAS_ERRGROUP>)
  foreach(pattern IN ITEMS fan_in fan_out drop timeout tracker errgroup servers list_dir)
    if(TARGET pattern_${pattern})
      add_dependencies(demo_test_patterns pattern_${pattern})
    endif()
  endforeach()
endif()

if(TARGET fanout)
  if(TARGET PkgConfig::FANOUT_H2O OR FANOUT_H2O_FOUND)
    set(fanout_has_servers 1)
  else()
    set(fanout_has_servers 0)
  endif()
  foreach(name IN ITEMS fanout fanout_input)
    uvf_demo_test(${name} 120 "FANOUT=\"$<TARGET_FILE:fanout>\"" FANOUT_HAS_SERVERS=${fanout_has_servers})
    add_dependencies(demo_test_${name} fanout)
  endforeach()

  find_program(UVF_SCRIPT script)
  if(UVF_SCRIPT)
    add_test(NAME demos/terminal COMMAND sh ${demo_tests}/terminal.sh $<TARGET_FILE:fanout>)
    uvf_test_common(demos/terminal demos 60 1)
  else()
    message(STATUS "Test demos/terminal: left out, the program script was not found (Debian: bsdutils)")
  endif()

  find_program(UVF_NGINX nginx PATHS /usr/sbin /usr/local/sbin)
  if(UVF_NGINX)
    find_program(UVF_VALGRIND valgrind)
    # Not under a sanitizer: valgrind cannot run such a program, and the times would not be fanout's.
    if(UVF_SANITIZE OR NOT UVF_VALGRIND)
      set(valgrind none)
    else()
      set(valgrind "${UVF_VALGRIND}")
    endif()
    if(UVF_SANITIZE)
      set(limit_ms 2000)
    else()
      math(EXPR limit_ms "350 * ${UVF_TEST_SLOWDOWN}")
    endif()
    add_test(NAME demos/nginx COMMAND sh ${demo_tests}/nginx.sh $<TARGET_FILE:fanout> ${UVF_NGINX} ${valgrind})
    uvf_test_common(demos/nginx demos 120 1)
    set_tests_properties(demos/nginx PROPERTIES RUN_SERIAL ON) # the time is measured
    set_property(TEST demos/nginx APPEND PROPERTY ENVIRONMENT "FANOUT_LIMIT_MS=${limit_ms}")
  else()
    message(STATUS "Test demos/nginx: left out, nginx was not found (Debian: apt-get install nginx-light)")
  endif()
endif()
