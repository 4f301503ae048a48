/* SPDX-License-Identifier: MIT
 *
 * Open descriptors: how many this process has, and a fixture that has as many afterwards as before. The test's own
 * thread only.
 */
#ifndef UVFLOW_TEST_FDS_H
#define UVFLOW_TEST_FDS_H

#include "support.h"

/* Descriptors this process has open. What libuv opens once for ever (the pipe of its signals) is open before the first
 * count. */
size_t test_fd_count(void);

/* 1 if fd is open. */
int test_fd_is_open(uv_file fd);

/* fixture_setup() and fixture_teardown() with a count of descriptors before the loop is made and after it is closed:
 * the teardown asserts that they are equal. */
int fds_setup(void **state);
int fds_teardown(void **state);
#define unit_fds(f) cmocka_unit_test_setup_teardown(f, fds_setup, fds_teardown)

#endif
