# SPDX-License-Identifier: MIT
add_test(NAME parity_rows_are_complete COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/check.sh")
set_tests_properties(parity_rows_are_complete PROPERTIES LABELS parity TIMEOUT 60)
