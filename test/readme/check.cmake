# SPDX-License-Identifier: MIT
#
# PROGRAM ends with 0 and prints what stands in EXPECTED; without EXPECTED, whatever it likes.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND "${PROGRAM}" RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the example of README.md ended with ${result}:\n${output}${errors}")
endif()
if(EXPECTED)
  file(READ "${EXPECTED}" expected)
  if(NOT output STREQUAL expected)
    message(FATAL_ERROR "the example of README.md printed\n${output}and README.md says it prints\n${expected}")
  endif()
endif()
