# SPDX-License-Identifier: MIT
#
# The gateway end to end. Each program starts gateways of its own, on ports that the system chooses, and prints the
# table of what its clients saw. What ctest runs is short; `sh test/gateway/tables` runs all of it at full length.
set(gateway_tests "${CMAKE_CURRENT_LIST_DIR}")

if(TARGET gateway)
  add_library(gateway_test_support STATIC ${gateway_tests}/wire.c ${gateway_tests}/client.c ${gateway_tests}/h2.c
                                          ${gateway_tests}/load.c ${gateway_tests}/subject.c ${gateway_tests}/table.c
                                          ${gateway_tests}/swarm.c ${gateway_tests}/../demos/child.c)
  target_link_libraries(gateway_test_support PUBLIC uvflow_test_support)
  target_include_directories(gateway_test_support PUBLIC ${gateway_tests})
  target_compile_definitions(gateway_test_support PUBLIC UVF_TEST_SLOWDOWN=${UVF_TEST_SLOWDOWN})

  function(uvf_gateway_program name)
    add_executable(gateway_${name} ${gateway_tests}/${name}.c ${ARGN})
    target_link_libraries(gateway_${name} PRIVATE gateway_test_support)
    set_target_properties(gateway_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY
                                                                         "${CMAKE_CURRENT_BINARY_DIR}/gateway")
    add_dependencies(gateway_${name} gateway)
  endfunction()

  function(uvf_gateway_test name timeout processors)
    add_test(NAME gateway/${name} COMMAND gateway_${name} --gateway $<TARGET_FILE:gateway> ${ARGN})
    uvf_test_common(gateway/${name} gateway ${timeout} ${processors})
  endfunction()

  uvf_gateway_program(hostile ${gateway_tests}/hostile_cases.c ${gateway_tests}/hostile_h2.c)
  uvf_gateway_program(numberer)
  uvf_gateway_program(backends ${gateway_tests}/badbackend.c ${gateway_tests}/../demos/server.c
                      ${gateway_tests}/../demos/json.c)
  foreach(name IN ITEMS statuses drains end_to_end sigterm_load)
    uvf_gateway_program(${name})
  endforeach()

  # Short ones. The machine's load decides how long they take, not what they find: no limit in them is tight.
  uvf_gateway_test(statuses 60 1)
  uvf_gateway_test(drains 60 1)
  uvf_gateway_test(end_to_end 120 2 --duration-ms 700)
  uvf_gateway_test(sigterm_load 120 2 --rounds 5 --before-ms 500)
  uvf_gateway_test(hostile 180 2)
  uvf_gateway_test(backends 90 1)

  find_program(UVF_CURL curl)
  if(UVF_CURL)
    find_program(UVF_WRK wrk)
    if(NOT UVF_WRK)
      set(UVF_WRK none)
    endif()
    add_test(NAME gateway/real_clients COMMAND sh ${gateway_tests}/real_clients.sh $<TARGET_FILE:gateway> ${UVF_CURL}
                                               ${UVF_WRK} 1)
    uvf_test_common(gateway/real_clients gateway 90 2)
  else()
    message(STATUS "Test gateway/real_clients: left out, the program curl was not found (Debian: apt-get install curl)")
  endif()
endif()
