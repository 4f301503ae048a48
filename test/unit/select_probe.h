/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of select on one thread share: cases, a select that takes notes, and what a fair choice is.
 */
#ifndef UVFLOW_TEST_SELECT_PROBE_H
#define UVFLOW_TEST_SELECT_PROBE_H

#include "unit/chan_probe.h"

typedef struct choice_s {
  uvf_select_t sel;
  uvf_select_case_t *cases;
  size_t n, index;
  int id, calls, status;
  journal_t *journal;
  void (*then)(struct choice_s *choice);
  void *arg;
} choice_t;

static inline void on_choice(uvf_select_t *sel, int status) {
  choice_t *c = (choice_t *)sel;
  c->calls++;
  c->status = status == sel->status ? status : -1;
  c->index = sel->index;
  if (c->journal != NULL) journal_add(c->journal, c->id);
  if (c->then != NULL) c->then(c);
}

static inline uvf_select_case_t receives(uvf_chan_t *chan) {
  uvf_select_case_t c;
  memset(&c, 0xa5, sizeof c);
  c.chan = chan;
  c.kind = UVF_SELECT_RECV;
  c.item = ITEM(-1);
  return c;
}

static inline uvf_select_case_t sends(uvf_chan_t *chan, int item) {
  uvf_select_case_t c;
  memset(&c, 0xa5, sizeof c);
  c.chan = chan;
  c.kind = UVF_SELECT_SEND;
  c.item = ITEM(item);
  return c;
}

static inline void choice_start(choice_t *c, uvf_ctx_t *ctx, uvf_select_case_t *cases, size_t n) {
  memset(&c->sel, 0xa5, sizeof c->sel);
  c->sel.data = c;
  c->cases = cases;
  c->n = n;
  c->calls = 0;
  c->status = 1;
  c->index = 7777;
  assert_int_equal(uvf_select_start(ctx, &c->sel, cases, n, on_choice), 0);
  assert_int_equal(c->calls, 0);
  assert_ptr_equal(c->sel.data, c);
  assert_ptr_equal(c->sel.ctx, ctx);
}

#define assert_chose(c, wanted_status, wanted_index)                                                                   \
  do {                                                                                                                 \
    assert_int_equal((c)->calls, 1);                                                                                   \
    assert_int_equal((c)->status, (wanted_status));                                                                    \
    assert_int_equal((c)->index, (wanted_index));                                                                      \
  } while (0)

static inline int choice_cancel(choice_t *c) { return uvf_op_cancel((uvf_op_t *)&c->sel); }

/* n draws, k cases: each within six standard deviations of n / k, which a fair one leaves once in 10^9 times. */
static inline void assert_fair(const int *count, int k, int n) {
  double p = 1.0 / k, mean = n * p, var = n * p * (1 - p);
  for (int i = 0; i < k; i++) {
    double d = count[i] - mean;
    if (d * d > 36 * var) fail_msg("case %d of %d happened %d times of %d", i, k, count[i], n);
  }
}

#endif
