/* SPDX-License-Identifier: MIT
 *
 * Two loops that make, cancel, release and close children of each other at random. Afterwards every watcher has been
 * called once and all memory is back.
 */
#include "unit/probe.h"

enum { SLOTS = 12, MINE = 24, CHUNKS = 25, STEPS = 30 };

typedef struct side_s {
  lane_t lane;
  struct side_s *other;
  uv_mutex_t mutex;
  uvf_ctx_t *slots[SLOTS]; /* what the other side may take; guarded by mutex */
  uvf_ctx_t *mine[MINE];   /* only this side's thread */
  uint64_t seed;
  int started, called, bad;
} side_t;

typedef struct note_s {
  uvf_watch_t watch;
  side_t *side;
} note_t;

static void on_note(uvf_watch_t *watch, int status) {
  note_t *note = (note_t *)watch;
  note->side->called++;
  if (status != UV_ECANCELED && status != UV_ETIMEDOUT) note->side->bad = 1;
  if (status != uvf_ctx_err(watch->ctx)) note->side->bad = 2;
  if (uvf_ctx_cause(watch->ctx, NULL) == 0) note->side->bad = 3;
  free(note);
}

static uvf_ctx_t *take(side_t *side, size_t i) {
  uvf_ctx_t *ctx;
  uv_mutex_lock(&side->mutex);
  ctx = uvf_ctx_retain(side->slots[i]);
  uv_mutex_unlock(&side->mutex);
  return ctx;
}

static void put(side_t *side, size_t i, uvf_ctx_t *ctx) {
  uvf_ctx_t *old;
  uv_mutex_lock(&side->mutex);
  old = side->slots[i];
  side->slots[i] = ctx;
  uv_mutex_unlock(&side->mutex);
  uvf_ctx_release(old);
}

static void keep(side_t *side, size_t i, uvf_ctx_t *ctx) {
  uvf_ctx_release(side->mine[i]);
  side->mine[i] = ctx;
}

/* One random step on the side's own loop thread. */
static void step(side_t *side) {
  uint64_t dice = test_rand(&side->seed) >> 8;
  size_t slot = (size_t)(dice >> 8) % SLOTS, mine = (size_t)(dice >> 16) % MINE, more = (size_t)(dice >> 24) % MINE;
  uvf_ctx_t *home = side->mine[more] != NULL && dice % 3 == 0 ? side->mine[more] : side->lane.root, *ctx = NULL, *taken;
  switch (dice % 8) {
    case 0:
    case 1: /* offer a context of this side, which may be a remote child itself */
      if ((dice >> 4) % 2 ? uvf_ctx_with_timeout(home, 1 + (dice >> 32) % 8, &ctx) : uvf_ctx_with_cancel(home, &ctx)) {
        side->bad = 4;
      }
      put(side, slot, ctx);
      break;
    case 2:
    case 3:
    case 4: /* a child of what the other side offers, watched */
      taken = take(side->other, slot);
      if (taken == NULL) break;
      if (uvf_ctx_with_remote(taken, home, &ctx) != 0) {
        side->bad = 5;
      } else {
        note_t *note = calloc(1, sizeof *note);
        if (note == NULL) abort();
        note->side = side;
        if (uvf_ctx_on_done(ctx, &note->watch, on_note) != 0) abort();
        side->started++;
        keep(side, mine, ctx);
      }
      uvf_ctx_release(taken);
      break;
    case 5: uvf_ctx_cancel_cause(side->mine[mine], -(int)more - 1, NULL); break;
    case 6: keep(side, mine, NULL); break;
    default: /* cancel what is the other side's, from this thread */
      taken = take(side->other, slot);
      uvf_ctx_cancel_cause(taken, -(int)mine - 1, NULL);
      uvf_ctx_release(taken);
  }
}

static void chunk(void *arg) {
  for (int i = 0; i < STEPS; i++) step(arg);
}

static void side_clear(side_t *side) {
  for (size_t i = 0; i < SLOTS; i++) put(side, i, NULL);
  for (size_t i = 0; i < MINE; i++) keep(side, i, NULL);
}

static void two_loops_that_cancel_each_other_at_random_end_everything_and_leak_nothing(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(60, 6);
  int started = 0;
  for (size_t round = 0; round < rounds; round++) {
    static side_t sides[2];
    size_t blocks = test_alloc_live(), first = test_rand(&seed) % 2;
    int late = test_rand(&seed) % 2 == 0; /* release the references before the close, or after the loops are gone */
    memset(sides, 0, sizeof sides);
    for (size_t i = 0; i < 2; i++) {
      lane_start(&sides[i].lane);
      assert_int_equal(uv_mutex_init(&sides[i].mutex), 0);
      sides[i].other = &sides[1 - i];
      sides[i].seed = test_rand(&seed);
    }
    for (int i = 0; i < CHUNKS; i++) {
      for (size_t s = 0; s < 2; s++) lane_post(&sides[s].lane, chunk, &sides[s]);
      for (size_t s = 0; s < 2; s++) lane_wait(&sides[s].lane);
    }
    if (!late) {
      for (size_t s = 0; s < 2; s++) side_clear(&sides[s]);
    }
    if (test_rand(&seed) % 2) { /* both at once, or one after the other */
      for (size_t s = 0; s < 2; s++) lane_post(&sides[s].lane, lane_close_root, &sides[s].lane);
      for (size_t s = 0; s < 2; s++) lane_wait(&sides[s].lane);
    }
    lane_stop(&sides[first].lane);
    lane_stop(&sides[1 - first].lane);
    for (size_t s = 0; s < 2; s++) side_clear(&sides[s]);
    for (size_t s = 0; s < 2; s++) {
      assert_int_equal(sides[s].bad, 0);
      assert_int_equal(sides[s].called, sides[s].started);
      started += sides[s].started;
      uv_mutex_destroy(&sides[s].mutex);
    }
    assert_int_equal(test_alloc_live(), blocks);
  }
  assert_true(started > (int)rounds);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(two_loops_that_cancel_each_other_at_random_end_everything_and_leak_nothing),
  };
  return test_run(tests);
}
