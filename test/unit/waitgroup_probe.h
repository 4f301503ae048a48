/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of wait groups share: a wait that takes notes.
 */
#ifndef UVFLOW_TEST_WAITGROUP_PROBE_H
#define UVFLOW_TEST_WAITGROUP_PROBE_H

#include "unit/probe.h"

typedef struct waited_s {
  uvf_wait_t wait;
  int calls;
  int status;
  int *total;
} waited_t;

static inline void on_waited(uvf_wait_t *wait, int status) {
  waited_t *waited = wait->data;
  waited->calls++;
  waited->status = status;
  if (waited->total != NULL) ++*waited->total;
}

static inline void waited_start(waited_t *waited, uvf_ctx_t *ctx, uvf_waitgroup_t *group) {
  int *total = waited->total;
  memset(waited, 0xff, sizeof *waited);
  waited->wait.data = waited;
  waited->calls = 0;
  waited->total = total;
  assert_int_equal(uvf_waitgroup_wait(ctx, &waited->wait, group, on_waited), 0);
  assert_int_equal(waited->calls, 0); /* never inside */
}

#define assert_told(waited, wanted)                                                                                    \
  do {                                                                                                                 \
    assert_int_equal((waited)->calls, 1);                                                                              \
    assert_int_equal((waited)->status, (wanted));                                                                      \
  } while (0)

#endif
