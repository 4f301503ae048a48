/* SPDX-License-Identifier: MIT
 *
 * Remote children at the edges of their lives: freed while the parent's loop cancels them, attached while the parent's
 * root closes, and in chains so long that nothing may recurse.
 */
#include "probe.h"

/* --- freed here, cancelled there --- */

enum { CHILDREN = 400 };

/* Two loops; B belongs to a thread of its own. The barrier is passed by both between the steps. */
typedef struct race_s {
  uv_loop_t a_loop, b_loop;
  uvf_ctx_t *a, *b, *parent;
  uvf_ctx_t *children[CHILDREN];
  uv_idle_t a_idle, b_idle; /* so that a turn without blocking is a whole one */
  uv_barrier_t step;
  size_t rounds;
  int err; /* B's; read after the join */
} race_t;

static race_t race;

static void race_b(void *arg) {
  (void)arg;
  for (size_t i = 0; i < race.rounds; i++) {
    uv_barrier_wait(&race.step); /* the parent is made */
    for (int n = 0; n < CHILDREN; n++) {
      int err = uvf_ctx_with_remote(race.parent, race.b, &race.children[n]);
      if (err != 0) race.err = err;
    }
    uv_barrier_wait(&race.step);
    uv_barrier_wait(&race.step); /* A has linked them all, and begins to cancel */
    for (int n = CHILDREN - 1; n >= 0; n--) uvf_ctx_release(race.children[n]);
    uv_run(&race.b_loop, UV_RUN_NOWAIT);
    uv_barrier_wait(&race.step);
  }
  uv_close((uv_handle_t *)&race.b_idle, NULL);
  uv_run(&race.b_loop, UV_RUN_NOWAIT);
  uvf_ctx_close(race.b, NULL);
  uv_run(&race.b_loop, UV_RUN_DEFAULT);
}

static void a_remote_child_may_be_freed_while_its_parents_loop_cancels_it(void **state) {
  uv_thread_t thread;
  size_t before = test_alloc_live();
  (void)state;
  memset(&race, 0, sizeof race);
  race.rounds = test_scaled(600, 4);
  assert_int_equal(uv_barrier_init(&race.step, 2), 0);
  assert_int_equal(uv_loop_init(&race.a_loop), 0);
  assert_int_equal(uv_loop_init(&race.b_loop), 0);
  assert_int_equal(uv_idle_init(&race.a_loop, &race.a_idle), 0);
  assert_int_equal(uv_idle_start(&race.a_idle, turn_idle), 0);
  assert_int_equal(uv_idle_init(&race.b_loop, &race.b_idle), 0);
  assert_int_equal(uv_idle_start(&race.b_idle, turn_idle), 0);
  assert_int_equal(uvf_ctx_background(&race.a_loop, &race.a), 0);
  assert_int_equal(uvf_ctx_background(&race.b_loop, &race.b), 0);
  assert_int_equal(uv_thread_create(&thread, race_b, NULL), 0);
  for (size_t i = 0; i < race.rounds; i++) {
    race.parent = child_of(race.a);
    uv_barrier_wait(&race.step);
    uv_barrier_wait(&race.step);
    uv_run(&race.a_loop, UV_RUN_NOWAIT);
    uv_barrier_wait(&race.step);
    uvf_ctx_cancel(race.parent); /* B releases the children meanwhile, from the other end of the list */
    uv_barrier_wait(&race.step);
    uv_run(&race.a_loop, UV_RUN_NOWAIT);
    uvf_ctx_release(race.parent);
  }
  assert_int_equal(uv_thread_join(&thread), 0);
  turn(&race.a_loop); /* what B sent last */
  assert_int_equal(race.err, 0);
  assert_int_equal(stats_of(race.a).contexts, 1);
  uv_close((uv_handle_t *)&race.a_idle, NULL);
  uvf_ctx_close(race.a, NULL);
  uv_run(&race.a_loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&race.a_loop), 0);
  assert_int_equal(uv_loop_close(&race.b_loop), 0);
  uv_barrier_destroy(&race.step);
  assert_int_equal(test_alloc_live(), before);
}

/* --- attached around the close --- */

/* The child is derived, and the parent's root closed, in a check callback of A's loop that runs before or behind the
 * library's own; `apart` turns lie between the two, either way round. */
typedef struct around_s {
  uv_loop_t a_loop, b_loop;
  uvf_ctx_t *a, *b, *parent, *child;
  uv_check_t check;
  uv_idle_t idle;
  int derive_at, close_at, turn;
  int closed, b_closed;
  int err;
} around_t;

static around_t around;

static void on_around_closed(uvf_ctx_t *root) {
  (void)root;
  around.closed++;
}
static void on_around_b_closed(uvf_ctx_t *root) {
  (void)root;
  around.b_closed++;
}

static void on_around(uv_check_t *check) {
  (void)check;
  if (around.turn == around.derive_at) around.err = uvf_ctx_with_remote(around.parent, around.b, &around.child);
  if (around.turn == around.close_at) uvf_ctx_close(around.a, on_around_closed);
  around.turn++;
}

static void around_case(int check_first, int derive_at, int close_at) {
  memset(&around, 0, sizeof around);
  around.derive_at = derive_at;
  around.close_at = close_at;
  assert_int_equal(uv_loop_init(&around.a_loop), 0);
  assert_int_equal(uv_loop_init(&around.b_loop), 0);
  assert_int_equal(uv_check_init(&around.a_loop, &around.check), 0);
  assert_int_equal(uv_idle_init(&around.a_loop, &around.idle), 0);
  assert_int_equal(uv_idle_start(&around.idle, turn_idle), 0);
  if (check_first) assert_int_equal(uv_check_start(&around.check, on_around), 0);
  assert_int_equal(uvf_ctx_background(&around.a_loop, &around.a), 0);
  if (!check_first) assert_int_equal(uv_check_start(&around.check, on_around), 0);
  assert_int_equal(uvf_ctx_background(&around.b_loop, &around.b), 0);
  around.parent = child_of(around.a);
  for (int i = 0; i < 40 && (!around.closed || around.child == NULL); i++) uv_run(&around.a_loop, UV_RUN_NOWAIT);
  assert_int_equal(around.closed, 1);
  assert_int_equal(around.err, 0);
  turn(&around.b_loop);
  if (uvf_ctx_err(around.child) == 0) {
    fail_msg("derived in turn %d, closed in turn %d, check first %d: the child stays live", derive_at, close_at,
             check_first);
  }
  assert_over(around.child, UV_ECANCELED, UV_ESHUTDOWN);
  uvf_ctx_release(around.parent);
  uvf_ctx_release(around.child);
  uvf_ctx_close(around.b, on_around_b_closed);
  uv_close((uv_handle_t *)&around.check, NULL);
  uv_close((uv_handle_t *)&around.idle, NULL);
  uv_run(&around.b_loop, UV_RUN_DEFAULT);
  uv_run(&around.a_loop, UV_RUN_DEFAULT);
  assert_int_equal(around.b_closed, 1);
  assert_int_equal(uv_loop_close(&around.a_loop), 0);
  assert_int_equal(uv_loop_close(&around.b_loop), 0);
}

static void a_remote_child_derived_around_its_parents_close_never_stays_live(void **state) {
  size_t before = test_alloc_live();
  (void)state;
  for (int check_first = 0; check_first < 2; check_first++) {
    for (int derive_at = 0; derive_at < 10; derive_at++) {
      for (int close_at = 0; close_at < 3; close_at++) around_case(check_first, derive_at, close_at);
    }
  }
  assert_int_equal(test_alloc_live(), before);
}

/* The same with nothing arranged: one thread derives while the other closes. */
typedef struct attach_s {
  uvf_ctx_t *parent;
  lane_t *lane; /* B */
  uv_barrier_t barrier;
  uvf_ctx_t *child[64];
  int err;
} attach_t;

static void attach_all(void *arg) {
  attach_t *attach = arg;
  uv_barrier_wait(&attach->barrier);
  for (size_t i = 0; i < ARRAY_SIZE(attach->child); i++) {
    int err = uvf_ctx_with_remote(attach->parent, attach->lane->root, &attach->child[i]);
    if (err != 0) attach->err = err;
  }
}

static void a_remote_child_derived_during_its_parents_close_is_over_when_both_loops_have_run(void **state) {
  static lane_t lane;
  static attach_t attach;
  size_t rounds = test_scaled(300, 4);
  fixture_t *f = *state;
  lane_start(&lane);
  for (size_t i = 0; i < rounds; i++) {
    if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    memset(&attach, 0, sizeof attach);
    attach.lane = &lane;
    attach.parent = child_of(f->root);
    assert_int_equal(uv_barrier_init(&attach.barrier, 2), 0);
    lane_post(&lane, attach_all, &attach);
    uv_barrier_wait(&attach.barrier);
    fixture_close_root(f);
    lane_wait(&lane);
    uv_barrier_destroy(&attach.barrier);
    lane_turn(&lane);
    assert_int_equal(attach.err, 0);
    for (size_t n = 0; n < ARRAY_SIZE(attach.child); n++) {
      assert_over(attach.child[n], UV_ECANCELED, UV_ESHUTDOWN);
      uvf_ctx_release(attach.child[n]);
    }
    uvf_ctx_release(attach.parent);
    lane_turn(&lane);
  }
  lane_stop(&lane);
}

/* --- long chains --- */

enum { CHAIN = 200000, SMALL_STACK = 256 * 1024 };

typedef struct chain_s {
  int closed_first; /* both roots are closed before the last release */
  size_t length;
  int bad; /* line of the first broken promise; the thread has no assertions */
} chain_t;

#define EXPECT(chain, cond)                                                                                            \
  do {                                                                                                                 \
    if (!(cond) && (chain)->bad == 0) (chain)->bad = __LINE__;                                                         \
  } while (0)

/* A chain that goes to and fro between two loops of this thread; the last release lets all of it go. */
static void chain_run(void *arg) {
  chain_t *chain = arg;
  uv_loop_t loops[2];
  uv_idle_t idle[2]; /* so that a turn without blocking is a whole one */
  uvf_ctx_t *roots[2], *first = NULL, *last, *next = NULL;
  for (int i = 0; i < 2; i++) {
    EXPECT(chain, uv_loop_init(&loops[i]) == 0);
    EXPECT(chain, uv_idle_init(&loops[i], &idle[i]) == 0);
    EXPECT(chain, uv_idle_start(&idle[i], turn_idle) == 0);
    EXPECT(chain, uvf_ctx_background(&loops[i], &roots[i]) == 0);
  }
  EXPECT(chain, uvf_ctx_with_cancel(roots[0], &first) == 0);
  if (chain->bad) return;
  last = uvf_ctx_retain(first);
  for (size_t i = 0; i < chain->length; i++) {
    if (uvf_ctx_with_remote(last, roots[(i + 1) % 2], &next) != 0) abort();
    uvf_ctx_release(last);
    last = next;
  }
  if (!chain->closed_first) {
    uvf_ctx_cancel(first);
    for (size_t i = 0; i < 2 * chain->length && uvf_ctx_err(last) == 0; i++) {
      uv_run(&loops[0], UV_RUN_NOWAIT);
      uv_run(&loops[1], UV_RUN_NOWAIT);
    }
    EXPECT(chain, uvf_ctx_err(last) == UV_ECANCELED);
    uvf_ctx_release(first);
    uvf_ctx_release(last);
  } else {
    uvf_ctx_release(first);
  }
  for (int i = 0; i < 2; i++) {
    uv_close((uv_handle_t *)&idle[i], NULL);
    uvf_ctx_close(roots[i], NULL);
  }
  uv_run(&loops[0], UV_RUN_DEFAULT);
  uv_run(&loops[1], UV_RUN_DEFAULT);
  uv_run(&loops[0], UV_RUN_DEFAULT);
  if (chain->closed_first) {
    EXPECT(chain, uvf_ctx_err(last) == UV_ECANCELED);
    uvf_ctx_release(last);
  }
  for (int i = 0; i < 2; i++) EXPECT(chain, uv_loop_close(&loops[i]) == 0);
}

static void a_chain_of_remote_contexts_needs_no_more_stack_than_one(void **state) {
  uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = SMALL_STACK};
  size_t before = test_alloc_live();
  (void)state;
  for (int closed_first = 0; closed_first < 2; closed_first++) {
    uv_thread_t thread;
    chain_t chain = {.closed_first = closed_first, .length = CHAIN};
    assert_int_equal(uv_thread_create_ex(&thread, &options, chain_run, &chain), 0);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(chain.bad, 0);
    assert_int_equal(test_alloc_live(), before);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_remote_child_may_be_freed_while_its_parents_loop_cancels_it),
      cmocka_unit_test(a_remote_child_derived_around_its_parents_close_never_stays_live),
      unit(a_remote_child_derived_during_its_parents_close_is_over_when_both_loops_have_run),
      cmocka_unit_test(a_chain_of_remote_contexts_needs_no_more_stack_than_one),
  };
  return test_run(tests);
}
