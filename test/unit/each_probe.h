/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of for-each share: a for-each that takes notes of what it gives.
 */
#ifndef UVFLOW_TEST_EACH_PROBE_H
#define UVFLOW_TEST_EACH_PROBE_H

#include "unit/chan_probe.h"

#define GOT_MAX 10000

typedef struct range_s {
  uvf_chan_each_t each;
  int id;
  int n, calls, ends, status;
  size_t largest;
  int got[GOT_MAX];
  uvf_chan_t *chan;
  journal_t *journal; /* gets the id for each item */
  void (*then)(struct range_s *range, size_t n);
  void (*finally)(struct range_s *range);
  void *arg;
  int rc;
} range_t;

static inline void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  range_t *r = (range_t *)each;
  r->calls++;
  if (n > r->largest) r->largest = n;
  if (n == 0) r->rc = -1000;
  for (size_t i = 0; i < n; i++) {
    if (r->n < GOT_MAX) r->got[r->n] = NUMBER(items[i]);
    r->n++;
    if (r->journal != NULL) journal_add(r->journal, r->id);
  }
  if (each->count != (uint64_t)r->n) r->rc = -1001;
  if (r->ends != 0) r->rc = -1002;
  if (r->then != NULL) r->then(r, n);
}

static inline void on_end(uvf_chan_each_t *each, int status) {
  range_t *r = (range_t *)each;
  r->ends++;
  r->status = status == each->status ? status : -1;
  if (r->finally != NULL) r->finally(r);
}

static inline range_t *range_new(uvf_chan_t *chan) {
  range_t *r = calloc(1, sizeof *r);
  assert_non_null(r);
  memset(&r->each, 0xa5, sizeof r->each);
  r->chan = chan;
  r->status = 1;
  return r;
}

static inline void range_start(range_t *r, uvf_ctx_t *ctx, size_t turn_max) {
  memset(&r->each, 0xa5, sizeof r->each); /* a start reads nothing of it */
  r->each.data = r;
  r->n = r->calls = r->ends = 0;
  r->status = 1;
  assert_int_equal(uvf_chan_each(ctx, &r->each, r->chan, turn_max, on_items, on_end), 0);
  assert_int_equal(r->calls + r->ends, 0); /* neither runs inside */
  assert_ptr_equal(r->each.data, r);
  assert_ptr_equal(r->each.ctx, ctx);
  assert_int_equal(r->each.count, 0);
}

static inline int range_stop(range_t *r) { return uvf_op_cancel((uvf_op_t *)&r->each); }

/* It has given from .. to in order and nothing else. */
static inline void assert_gave(const range_t *r, int from, int to) {
  assert_int_equal(r->n, to - from + 1);
  for (int i = 0; i < r->n; i++) assert_int_equal(r->got[i], from + i);
  assert_true(r->rc >= 0);
}

#endif
