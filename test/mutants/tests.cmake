# SPDX-License-Identifier: MIT
#
# Running the mutants takes a minute or two and is a stage of its own. That their patches still apply is seen here at once.
if(UNIX)
  add_test(NAME mutants/apply COMMAND "${CMAKE_CURRENT_LIST_DIR}/run" --check)
  set_tests_properties(mutants/apply PROPERTIES LABELS mutants TIMEOUT 60)
endif()
