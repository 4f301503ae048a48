/* SPDX-License-Identifier: MIT */
#include "fds.h"

#ifndef _WIN32
#include <unistd.h>
#endif

static size_t fds_before; /* one fixture at a time */

int test_fd_is_open(uv_file fd) {
  uv_fs_t req;
  int status = uv_fs_fstat(NULL, &req, fd, NULL);
  uv_fs_req_cleanup(&req);
  return status != UV_EBADF;
}

/* The limit where the system tells it, within reason: it may be "none". */
static uv_file highest_fd(void) {
#ifdef _WIN32
  return 2048;
#else
  long limit = sysconf(_SC_OPEN_MAX);
  return limit < 0 || limit > 65536 ? 65536 : (uv_file)limit;
#endif
}

size_t test_fd_count(void) {
  static int warm;
  uv_fs_t req;
  size_t count = 0;
  int entries;
  if (!warm) {
    uv_loop_t loop;
    warm = 1;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
  }
  entries = uv_fs_scandir(NULL, &req, "/proc/self/fd", 0, NULL);
  uv_fs_req_cleanup(&req);
  if (entries > 0) return (size_t)entries - 1; /* without the one that reads the folder */
  for (uv_file fd = 0; fd < highest_fd(); fd++) count += (size_t)test_fd_is_open(fd);
  return count;
}

int fds_setup(void **state) {
  fds_before = test_fd_count();
  return fixture_setup(state);
}

int fds_teardown(void **state) {
  int status = fixture_teardown(state);
  assert_int_equal(test_fd_count(), fds_before);
  return status;
}
