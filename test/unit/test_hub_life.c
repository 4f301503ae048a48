/* SPDX-License-Identifier: MIT
 *
 * What a loop's part of the library is known by: its handles until the last of them has closed, its thread by a number
 * no later thread gets, and its clock, which may be ahead of its timers.
 */
#include "probe.h"

/* --- handles --- */

enum { OWN_HANDLES = 3 };

typedef struct walk_s {
  const uv_handle_t *own[OWN_HANDLES];
  int seen_own, seen_closing, strangers, mistaken;
} walk_t;

static void on_walk(uv_handle_t *handle, void *arg) {
  walk_t *walk = arg;
  for (size_t i = 0; i < ARRAY_SIZE(walk->own); i++) {
    if (handle != walk->own[i]) continue;
    walk->seen_own++;
    walk->mistaken += uvf_owns_handle(handle) != 0;
    return;
  }
  walk->seen_closing += uv_is_closing(handle) != 0;
  walk->strangers += uvf_owns_handle(handle) != 1;
}

static int closed;
static void on_closed(uvf_ctx_t *root) {
  (void)root;
  closed++;
}

static void on_no_signal(uvf_signals_t *signals, int signum) {
  (void)signals;
  (void)signum;
}

/* In every turn from the first root to the last close callback whatever is on the loop is either the test's or the
 * library's. */
static void every_handle_of_the_library_is_known_as_its_own_until_it_has_closed(void **state) {
  size_t before = test_alloc_live();
  (void)state;
  for (int roots = 1; roots <= 3; roots++) {
    uv_loop_t loop;
    uv_idle_t idle;
    uv_timer_t timer;
    uv_check_t check;
    uvf_signals_t signals; /* its handles are the library's as well */
    uvf_ctx_t *root[3];
    walk_t walk = {.own = {(uv_handle_t *)&idle, (uv_handle_t *)&timer, (uv_handle_t *)&check}};
    closed = 0;
    memset(&signals, 0, sizeof signals);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_idle_init(&loop, &idle), 0);
    assert_int_equal(uv_timer_init(&loop, &timer), 0);
    assert_int_equal(uv_check_init(&loop, &check), 0);
    assert_int_equal(uv_idle_start(&idle, turn_idle), 0);
    for (int i = 0; i < roots; i++) assert_int_equal(uvf_ctx_background(&loop, &root[i]), 0);
    assert_int_equal(uvf_signals_start(root[roots - 1], &signals, NULL, 0, on_no_signal, NULL), 0);
    uv_walk(&loop, on_walk, &walk);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_walk(&loop, on_walk, &walk);
    for (int i = 0; i < roots; i++) uvf_ctx_close(root[i], on_closed);
    uv_walk(&loop, on_walk, &walk);
    for (int i = 0; i < 50 && closed < roots; i++) {
      uv_run(&loop, UV_RUN_NOWAIT);
      uv_walk(&loop, on_walk, &walk);
    }
    assert_int_equal(closed, roots);
    assert_true(walk.seen_own >= 4 * OWN_HANDLES);
    assert_true(walk.seen_closing > 0);
    assert_int_equal(walk.strangers, 0);
    assert_int_equal(walk.mistaken, 0);
    uv_close((uv_handle_t *)&idle, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&check, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
  }
  assert_int_equal(test_alloc_live(), before);
}

/* From inside: in the close callbacks of the test's own handles and in the root's, which come between those of the
 * library's. */
typedef struct inside_s {
  uv_loop_t loop;
  uv_idle_t closing;
  walk_t walk;
  int closed;
} inside_t;

static inside_t inside;

static void on_inside_root(uvf_ctx_t *root) {
  inside.closed = 1;
  uv_walk(uvf_ctx_loop(root), on_walk, &inside.walk);
}

static void inside_close_again(uv_handle_t *handle) {
  uv_walk(handle->loop, on_walk, &inside.walk);
  if (inside.closed) return;
  if (uv_idle_init(handle->loop, &inside.closing) != 0) abort();
  uv_close((uv_handle_t *)&inside.closing, inside_close_again);
}

static void also_inside_close_callbacks(void **state) {
  uvf_ctx_t *root;
  (void)state;
  memset(&inside, 0, sizeof inside);
  inside.walk.own[0] = (uv_handle_t *)&inside.closing;
  assert_int_equal(uv_loop_init(&inside.loop), 0);
  assert_int_equal(uvf_ctx_background(&inside.loop, &root), 0);
  assert_int_equal(uv_idle_init(&inside.loop, &inside.closing), 0);
  uv_close((uv_handle_t *)&inside.closing, inside_close_again);
  uvf_ctx_close(root, on_inside_root);
  uv_run(&inside.loop, UV_RUN_DEFAULT);
  assert_int_equal(inside.closed, 1);
  assert_true(inside.walk.seen_closing > 0);
  assert_int_equal(inside.walk.strangers, 0);
  assert_int_equal(inside.walk.mistaken, 0);
  assert_int_equal(uv_loop_close(&inside.loop), 0);
}

/* --- threads --- */

enum { GONE_THREADS = 50 };

static void run_once(void *arg) { uv_run(arg, UV_RUN_NOWAIT); }

typedef struct stop_s {
  uvf_ctx_t *ctx;
  uvf_watch_t watch;
  int result;
} stop_t;

static void stop_and_wait(void *arg) {
  stop_t *stop = arg;
  stop->result = uvf_watch_stop_wait(stop->ctx, &stop->watch, UVF_WAIT_FOREVER);
}

static void on_never(uvf_watch_t *watch, int status) {
  (void)watch;
  (void)status;
  abort();
}

/* The loops' last thread is gone, their roots are not. A new thread often gets the stack, and with it the addresses, of
 * one that is gone. */
static void a_new_thread_is_not_taken_for_one_that_ran_a_loop_and_is_gone(void **state) {
  static uv_loop_t loops[GONE_THREADS];
  static uv_idle_t idles[GONE_THREADS];
  uvf_ctx_t *roots[GONE_THREADS];
  fixture_t *f = *state;
  for (int i = 0; i < GONE_THREADS; i++) {
    assert_int_equal(uv_loop_init(&loops[i]), 0);
    assert_int_equal(uv_idle_init(&loops[i], &idles[i]), 0);
    assert_int_equal(uv_idle_start(&idles[i], turn_idle), 0);
    assert_int_equal(uvf_ctx_background(&loops[i], &roots[i]), 0);
    on_thread(run_once, &loops[i]);
  }
  for (int i = 0; i < GONE_THREADS; i++) {
    stop_t stop = {.ctx = child_of(f->root), .result = 1};
    assert_int_equal(uvf_ctx_on_done(stop.ctx, &stop.watch, on_never), 0);
    run_beside(&f->loop, stop_and_wait, &stop);
    assert_int_equal(stop.result, UVF_STOP_REMOVED);
    uvf_ctx_release(stop.ctx);
  }
  for (int i = 0; i < GONE_THREADS; i++) { /* from here on they are this thread's */
    uv_run(&loops[i], UV_RUN_NOWAIT);
    uvf_ctx_close(roots[i], NULL);
    uv_close((uv_handle_t *)&idles[i], NULL);
    uv_run(&loops[i], UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loops[i]), 0);
  }
}

/* --- the clock is ahead of the timers --- */

static void under_an_overdue_deadline_a_deadline_in_the_past_is_born_over(void **state) {
  fixture_t *f = *state;
  for (int depth = 0; depth < 3; depth++) {
    uvf_ctx_t *parent, *low, *ctx[4];
    uint64_t past_ns = uv_hrtime();
    parent = timeout_of(f->root, 3);
    low = uvf_ctx_retain(parent);
    for (int i = 0; i < depth; i++) { /* the deadline is inherited */
      uvf_ctx_t *child = child_of(low);
      uvf_ctx_release(low);
      low = child;
    }
    spin_ns(5 * MS_NS); /* the loop has not run: nobody has told the parent */
    assert_int_equal(uvf_ctx_err(parent), 0);
    assert_int_equal(uvf_ctx_with_timeout(low, 0, &ctx[0]), 0);
    assert_int_equal(uvf_ctx_with_deadline(low, past_ns, &ctx[1]), 0);
    assert_int_equal(uvf_ctx_with_timeout_cause(low, 0, -1001, NULL, &ctx[2]), 0);
    assert_int_equal(uvf_ctx_with_deadline(low, uv_hrtime(), &ctx[3]), 0); /* behind the parent's, and past */
    for (size_t i = 0; i < ARRAY_SIZE(ctx); i++) assert_int_equal(uvf_ctx_err(ctx[i]), UV_ETIMEDOUT);
    turn(&f->loop);
    assert_over(parent, UV_ETIMEDOUT, UV_ETIMEDOUT);
    for (size_t i = 0; i < ARRAY_SIZE(ctx); i++) uvf_ctx_release(ctx[i]);
    uvf_ctx_release(low);
    uvf_ctx_release(parent);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_handle_of_the_library_is_known_as_its_own_until_it_has_closed),
      cmocka_unit_test(also_inside_close_callbacks),
      unit(a_new_thread_is_not_taken_for_one_that_ran_a_loop_and_is_gone),
      unit(under_an_overdue_deadline_a_deadline_in_the_past_is_born_over),
  };
  return test_run(tests);
}
