# SPDX-License-Identifier: MIT
#
# PROGRAM ends with 0 and prints each of LINES, a list separated by |, in whatever order.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND "${PROGRAM}" RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${result}:\n${output}${errors}")
endif()
string(REPLACE "|" ";" lines "${LINES}")
foreach(line IN LISTS lines)
  string(FIND "\n${output}" "\n${line}\n" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "${PROGRAM} did not print \"${line}\" but\n${output}${errors}")
  endif()
endforeach()
