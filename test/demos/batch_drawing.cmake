# SPDX-License-Identifier: MIT
#
# README shows what PROGRAM --draw-only prints: the block that begins with the line `$ batch --draw-only`.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND "${PROGRAM}" --draw-only RESULT_VARIABLE result OUTPUT_VARIABLE drawing ERROR_VARIABLE errors)
if(NOT result EQUAL 0 OR drawing STREQUAL "")
  message(FATAL_ERROR "${PROGRAM} --draw-only ended with ${result}:\n${drawing}${errors}")
endif()

set(begin "```console\n$ batch --draw-only\n")
set(wanted "${begin}${drawing}```\n")
file(READ "${README}" text)
string(FIND "${text}" "${begin}" at)
if(at EQUAL -1)
  message("${wanted}") # as it is: the text of an error is filled anew
  message(FATAL_ERROR "${README} does not show the drawing of batch: the block above belongs there")
endif()
string(SUBSTRING "${text}" ${at} -1 text)
string(LENGTH "${begin}" skip)
string(SUBSTRING "${text}" ${skip} -1 block)
string(FIND "${block}" "```" end)
string(SUBSTRING "${block}" 0 ${end} block)
if(NOT block STREQUAL drawing)
  message("${block}\n${wanted}")
  message(FATAL_ERROR "${README} shows the first of these as the drawing of batch; the second is what it prints")
endif()
