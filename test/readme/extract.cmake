# SPDX-License-Identifier: MIT
#
# Writes the first ```c block of README to PROGRAM and the first ```text block after it, what the program prints, to EXPECTED.
cmake_minimum_required(VERSION 3.25)
file(READ "${README}" text)

# Taken by position: a list would swallow the semicolons and brackets of C.
function(cut fence variable)
  set(open "\n```${fence}\n")
  string(FIND "${text}" "${open}" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "${README}: no ```${fence} block")
  endif()
  string(LENGTH "${open}" length)
  math(EXPR begin "${begin} + ${length}")
  string(SUBSTRING "${text}" ${begin} -1 rest)
  string(FIND "${rest}" "\n```" length)
  if(length EQUAL -1)
    message(FATAL_ERROR "${README}: the ```${fence} block does not end")
  endif()
  string(SUBSTRING "${rest}" 0 ${length} block)
  string(SUBSTRING "${rest}" ${length} -1 rest)
  set(${variable} "${block}\n" PARENT_SCOPE)
  set(text "${rest}" PARENT_SCOPE)
endfunction()

cut(c program)
cut(text expected)
file(WRITE "${PROGRAM}" "${program}")
file(WRITE "${EXPECTED}" "${expected}")
