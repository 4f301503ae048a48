/* SPDX-License-Identifier: MIT
 *
 * What the tests of guards of other things than handles share: a function that notes its call, a descriptor to close.
 */
#ifndef UVFLOW_TEST_GUARD_PROBE_H
#define UVFLOW_TEST_GUARD_PROBE_H

#include <fcntl.h>

#include "unit/io_probe.h"

typedef struct note_call_s {
  uvf_guard_t guard;
  int id, calls, status;
  journal_t *journal;
  void (*then)(struct note_call_s *call);
  void *arg;
} call_t;

static inline void on_call(uvf_guard_t *guard) {
  call_t *call = (call_t *)guard;
  io_enter();
  call->calls++;
  call->status = guard->status;
  if (call->journal != NULL) journal_add(call->journal, call->id);
  if (call->then != NULL) call->then(call);
  io_leave();
}

static inline call_t call_of(int id, journal_t *journal) {
  call_t call = {.id = id, .status = NOT_YET, .journal = journal};
  memset(&call.guard, 0xa5, sizeof call.guard); /* a start reads none of it */
  return call;
}

static inline void call_start(call_t *call, uvf_ctx_t *ctx) {
  assert_int_equal(io_call(uvf_guard_start_call(ctx, &call->guard, on_call)), 0);
}

static inline uv_file file_open(void) {
  uv_fs_t fs;
  uv_file file = uv_fs_open(NULL, &fs, ".", O_RDONLY, 0, NULL);
  uv_fs_req_cleanup(&fs);
  assert_true(file >= 0);
  return file;
}

#endif
