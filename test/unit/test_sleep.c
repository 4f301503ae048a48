/* SPDX-License-Identifier: MIT
 *
 * io.h: sleep: never early, once, and ended by whoever is first.
 */
#include "unit/io_probe.h"

static uvf_sleep_t *sleep_of(const tally_t *t) { return t->req; }

static void on_sleep(uvf_sleep_t *req, int status) { tally_done(req->data, status); }

static tally_t *sleep_new(void) { return tally_new(sizeof(uvf_sleep_t)); }

static void sleep_start(tally_t *t, uvf_ctx_t *ctx, uint64_t ms) {
  tally_start(t, uvf_sleep_start(ctx, sleep_of(t), ms, on_sleep));
}

static uint64_t timeouts_armed(uvf_ctx_t *ctx) { return uvf__ctx_hub(ctx)->timeouts.armed; }

/* --- time --- */

static void a_sleep_is_over_after_its_time_and_never_early(void **state) {
  static const uint64_t times[] = {0, 1, 2, 15};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
    tally_t *t = sleep_new();
    uint64_t before_ns = uv_hrtime();
    sleep_start(t, f->root, times[i]);
    assert_int_equal(t->done, 0);
    run_tally(t);
    turn(&f->loop);
    assert_tally(t, 0);
    assert_true(t->done_ns >= before_ns + times[i] * MS_NS);
    assert_true(t->done_ns <= before_ns + times[i] * MS_NS + GENEROUS_NS);
  }
}

static void a_nanosecond_before_its_time_it_sleeps(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  uint64_t at_ns;
  clock_freeze();
  at_ns = frozen_ns + 700 * MS_NS;
  sleep_start(t, f->root, 700);
  clock_to(f->root, at_ns - 1);
  turn(&f->loop);
  assert_int_equal(t->done, 0);
  clock_to(f->root, at_ns);
  assert_int_equal(t->done, 0); /* due; told by the loop */
  run_tally(t);
  assert_tally(t, 0);
  assert_int_equal(timeouts_armed(f->root), 0);
}

static journal_t wakes;

static void note_wake(tally_t *t) { journal_add(&wakes, *(int *)t->arg); }

static void sleeps_end_in_the_order_of_their_times(void **state) {
  static const uint64_t times[] = {50, 10, 40, 20, 3000, 30};
  static int ids[] = {50, 10, 40, 20, 3000, 30};
  fixture_t *f = *state;
  wakes.n = 0;
  clock_freeze();
  for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
    tally_t *t = sleep_new();
    t->arg = &ids[i];
    t->in_done = note_wake;
    sleep_start(t, f->root, times[i]);
  }
  clock_to(f->root, frozen_ns + 4000 * MS_NS);
  turn(&f->loop);
  assert_journal(&wakes, 10, 20, 30, 40, 50, 3000);
}

static void a_time_too_far_to_be_counted_never_comes_and_only_the_end_of_the_context_ends_it(void **state) {
  static const uint64_t times[] = {UINT64_MAX, UINT64_MAX / MS_NS, UINT64_MAX / MS_NS - 1, UINT64_MAX / 2};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
    uvf_ctx_t *ctx = child_of(f->root);
    tally_t *t = sleep_new();
    sleep_start(t, ctx, times[i]);
    an_hour_passes(ctx);
    turn(&f->loop);
    assert_int_equal(t->done, 0);
    assert_true(uv_loop_alive(&f->loop));
    uvf_ctx_cancel(ctx);
    run_tally(t);
    assert_tally(t, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
}

typedef struct late_s {
  tally_t *late;
  uint64_t called_ns;
} late_t;

static void start_late(tally_t *t) {
  late_t *late = t->arg;
  spin_ns(20 * MS_NS); /* the loop's cached clock is 20 ms behind now */
  late->called_ns = uv_hrtime();
  sleep_start(late->late, io.f->root, 10);
}

static void a_sleep_begun_in_a_long_callback_counts_from_the_call(void **state) {
  fixture_t *f = *state;
  tally_t *first = sleep_new();
  late_t late = {.late = sleep_new()};
  first->in_done = start_late;
  first->arg = &late;
  sleep_start(first, f->root, 0);
  run_tally(first);
  run_tally(late.late);
  assert_true(late.late->done_ns >= late.called_ns + 10 * MS_NS);
}

static void a_loop_that_stands_still_wakes_nobody_and_everybody_once_when_it_turns(void **state) {
  fixture_t *f = *state;
  tally_t *t[5];
  for (int i = 0; i < 5; i++) sleep_start(t[i] = sleep_new(), f->root, (uint64_t)i);
  spin_ns(10 * MS_NS);
  for (int i = 0; i < 5; i++) assert_int_equal(t[i]->done, 0);
  for (int i = 0; i < 5; i++) run_tally(t[i]);
  turn(&f->loop);
  for (int i = 0; i < 5; i++) assert_tally(t[i], 0);
}

/* --- who ends it --- */

static void whoever_ends_it_before_its_time_gives_the_status_at_once(void **state) {
  (void)state;
  for (way_t way = 0; way < WAYS; way++) {
    tally_t *t = sleep_new();
    scene_t s;
    t->keep = 1;
    scene_open(&s, way);
    sleep_start(t, s.ctx, 10 * HOUR_MS);
    assert_int_equal(scene_end(&s, t->req), 0);
    if (way == BY_OP) assert_int_equal(uvf_op_cancel(t->req), UV_EBUSY);
    run_tally(t);
    assert_int_equal(timeouts_armed(io.f->root), 0);
    assert_int_equal(uvf_op_cancel(t->req), UV_EBUSY);
    turn(&io.f->loop);
    assert_tally(t, s.err);
    assert_int_equal(t->err_in_done, way == BY_OP ? 0 : s.err);
    scene_close(&s);
  }
}

static void ended_between_its_ring_and_its_callback_it_is_answered_with_0(void **state) {
  (void)state;
  for (way_t way = 0; way < WAYS; way++) {
    tally_t *t = sleep_new();
    scene_t s;
    scene_open(&s, way);
    sleep_start(t, s.ctx, 1);
    clock_ahead_ns += 2 * MS_NS;
    uvf__clock_ns = clock_of_test;
    uvf__hub_run_deadlines(uvf__ctx_hub(s.ctx));
    assert_int_equal(state_of(t), UVF__OP_READY);
    assert_int_equal(scene_end(&s, t->req), way == BY_OP ? UV_EBUSY : 0);
    run_tally(t);
    turn(&io.f->loop);
    assert_tally(t, 0);
    scene_close(&s);
  }
}

static void a_cancel_after_its_callback_is_too_late(void **state) {
  (void)state;
  for (way_t way = 0; way < WAYS; way++) {
    tally_t *t = sleep_new();
    scene_t s;
    t->keep = 1;
    scene_open(&s, way);
    sleep_start(t, s.ctx, 0);
    uvf__hub_run_deadlines(
        uvf__ctx_hub(s.ctx)); /* an hour may have passed already: libuv's timer knows nothing of it */
    run_tally(t);
    assert_int_equal(scene_end(&s, t->req), way == BY_OP ? UV_EBUSY : 0);
    turn(&io.f->loop);
    assert_tally(t, 0);
    scene_close(&s);
  }
}

static void a_sleep_that_rings_sees_a_cancel_that_its_loop_has_not_heard_of(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  tally_t *t = sleep_new();
  turn(&f->loop); /* the loop's thread is known: a cancel elsewhere only posts */
  clock_freeze();
  sleep_start(t, ctx, 5);
  on_thread(scene_cancel, ctx);
  assert_int_equal(state_of(t), UVF__OP_PENDING);
  clock_to(f->root, frozen_ns + 5 * MS_NS);
  assert_int_equal(state_of(t), UVF__OP_READY);
  run_tally(t);
  assert_tally(t, UV_ECANCELED);
  uvf_ctx_release(ctx);
}

static void with_a_deadline_at_the_same_instant_the_deadline_is_first(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new(), *before = sleep_new();
  uvf_ctx_t *ctx;
  clock_freeze();
  ctx = timeout_of(f->root, 100);
  sleep_start(t, ctx, 100);
  sleep_start(before, ctx, 99);
  clock_to(f->root, frozen_ns + 99 * MS_NS);
  clock_to(f->root, frozen_ns + 1 * MS_NS);
  run_tally(t);
  assert_tally(t, UV_ETIMEDOUT);
  run_tally(before);
  assert_tally(before, 0);
  uvf_ctx_release(ctx);
}

static void under_a_context_that_is_over_it_is_answered_with_its_err_and_never_sleeps(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over[2] = {child_of(f->root), timeout_of(f->root, 0)};
  uvf_ctx_cancel(over[0]);
  for (int i = 0; i < 2; i++) {
    tally_t *t = sleep_new();
    sleep_start(t, over[i], HOUR_MS);
    assert_int_equal(timeouts_armed(f->root), 0);
    assert_int_equal(t->done, 0);
    assert_int_equal(uvf_op_cancel(t->req), UV_EBUSY);
    run_tally(t);
    assert_tally(t, i == 0 ? UV_ECANCELED : UV_ETIMEDOUT);
    uvf_ctx_release(over[i]);
  }
}

/* --- refused --- */

static void null_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  assert_int_equal(uvf_sleep_start(NULL, sleep_of(t), 1, on_sleep), UV_EINVAL);
  assert_int_equal(uvf_sleep_start(f->root, NULL, 1, on_sleep), UV_EINVAL);
  assert_int_equal(uvf_sleep_start(f->root, sleep_of(t), 1, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_false(uv_loop_alive(&f->loop));
  sleep_start(t, f->root, 0); /* the request is usable */
  run_tally(t);
  assert_tally(t, 0);
}

static void start_again(void *arg) {
  tally_t *t = arg;
  (void)uvf_sleep_start(io.f->root, sleep_of(t), 1, on_sleep);
}

static void starting_one_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  sleep_start(t, f->root, 1);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, t);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_sleep_start: ", strlen("uvf_sleep_start: "));
  }
  run_tally(t);
  assert_tally(t, 0);
}

/* --- what it costs and holds --- */

static void count_handle(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

static void it_costs_no_memory_and_no_handle_and_holds_the_loop_until_it_is_over(void **state) {
  fixture_t *f = *state;
  tally_t *t[20];
  size_t blocks = test_alloc_count(), libuvs = atomic_load(&libuv_live);
  int before = 0, after = 0;
  uv_walk(&f->loop, count_handle, &before);
  assert_false(uv_loop_alive(&f->loop));
  for (int i = 0; i < 20; i++) sleep_start(t[i] = sleep_new(), f->root, 2);
  uv_walk(&f->loop, count_handle, &after);
  assert_int_equal(after, before);
  assert_int_equal(test_alloc_count(), blocks);
  assert_int_equal(atomic_load(&libuv_live), libuvs);
  assert_int_equal(counts_of(f->root).ops, 20);
  assert_true(uv_loop_alive(&f->loop));
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  for (int i = 0; i < 20; i++) assert_tally(t[i], 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_false(uv_loop_alive(&f->loop));
}

static void closing_the_root_does_not_wait_for_the_time(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  uint64_t before_ns = uv_hrtime();
  sleep_start(t, f->root, HOUR_MS);
  fixture_close_root(f);
  assert_tally(t, UV_ECANCELED);
  assert_true(uv_hrtime() - before_ns < GENEROUS_NS);
}

static void the_dump_names_it(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  char text[2000] = "";
  FILE *out = tmpfile();
  assert_non_null(out);
  sleep_start(t, f->root, 0);
  assert_int_equal(uvf_ctx_dump(f->root, out), 0);
  rewind(out);
  assert_true(fread(text, 1, sizeof text - 1, out) > 0);
  fclose(out);
  assert_non_null(strstr(text, "[sleep]  pending"));
  run_tally(t);
}

/* --- inside the callback --- */

static void sleep_again(tally_t *t) {
  if (t->done < 3) sleep_start(t, io.f->root, 1);
}

static void the_callback_may_start_the_same_request_again(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new();
  t->in_done = sleep_again;
  sleep_start(t, f->root, 0);
  run_until(&f->loop, &t->done, 3);
  turn(&f->loop);
  assert_int_equal(t->done, 3);
}

static int cancels[3];

static void cancel_others(tally_t *t) {
  tally_t **others = t->arg;
  for (int i = 0; i < 3; i++) cancels[i] = uvf_op_cancel(others[i]->req);
}

static void the_callback_may_cancel_others_those_that_are_due_are_answered_with_0(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new(), *others[3];
  t->in_done = cancel_others;
  t->arg = others;
  clock_freeze();
  sleep_start(t, f->root, 10);
  for (int i = 0; i < 3; i++) {
    others[i] = sleep_new();
    others[i]->keep = 1;
    sleep_start(others[i], f->root, 10 + (uint64_t)i);
  }
  clock_to(f->root, frozen_ns + 11 * MS_NS);
  run_tally(t);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(cancels[i], i < 2 ? UV_EBUSY : 0);
    assert_tally(others[i], i < 2 ? 0 : UV_ECANCELED);
  }
}

static void give_up_ctx(tally_t *t) {
  uvf_ctx_t *ctx = op_of_tally(t)->ctx;
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx); /* the caller's reference; the library's own ends after this callback */
  io_expect(uvf_ctx_err(ctx) == UV_ECANCELED, "the context is gone inside the callback");
}

static void the_callback_may_cancel_and_release_its_context(void **state) {
  fixture_t *f = *state;
  tally_t *first = sleep_new(), *second = sleep_new();
  uvf_ctx_t *ctx = child_of(f->root);
  first->in_done = give_up_ctx;
  sleep_start(first, ctx, 0);
  sleep_start(second, ctx, HOUR_MS);
  run_tally(second);
  assert_tally(first, 0);
  assert_tally(second, UV_ECANCELED);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void run_nested(tally_t *t) {
  tally_t *other = t->arg;
  io.nested = 1;
  run_until(&io.f->loop, &other->done, 1);
  io.nested = 0;
}

static void the_callback_may_run_the_loop(void **state) {
  fixture_t *f = *state;
  tally_t *outer = sleep_new(), *inner = sleep_new();
  outer->in_done = run_nested;
  outer->arg = inner;
  sleep_start(outer, f->root, 0);
  sleep_start(inner, f->root, 3);
  run_tally(outer);
  assert_tally(outer, 0);
  assert_tally(inner, 0);
  assert_true(inner->done_at > outer->done_at);
}

static void close_root(tally_t *t) {
  (void)t;
  uvf_ctx_close(io.f->root, NULL);
  io.f->root = NULL;
}

static void the_callback_may_close_the_root(void **state) {
  fixture_t *f = *state;
  tally_t *t = sleep_new(), *other = sleep_new();
  t->in_done = close_root;
  sleep_start(t, f->root, 0);
  sleep_start(other, f->root, HOUR_MS);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_tally(t, 0);
  assert_tally(other, UV_ECANCELED);
}

/* --- two loops, many --- */

typedef struct far_s {
  uvf_sleep_t req;
  lane_t *lane;
  uint64_t began_ns, done_ns;
  int status;
  gate_t over;
} far_t;

static void on_far(uvf_sleep_t *req, int status) {
  far_t *far = (far_t *)req;
  far->status = status;
  far->done_ns = uv_hrtime();
  gate_open(&far->over, 1);
}

static void far_start(void *arg) {
  far_t *far = arg;
  far->began_ns = uv_hrtime();
  if (uvf_sleep_start(far->lane->root, &far->req, 5, on_far) != 0) abort();
}

static void each_loop_wakes_its_own(void **state) {
  fixture_t *f = *state;
  lane_t lane;
  far_t far = {.lane = &lane, .status = NOT_YET};
  tally_t *t = sleep_new();
  gate_init(&far.over);
  lane_start(&lane);
  lane_call(&lane, far_start, &far);
  sleep_start(t, f->root, 5);
  assert_true(gate_passed(&far.over)); /* though this loop stands still */
  assert_int_equal(t->done, 0);
  run_tally(t);
  assert_tally(t, 0);
  lane_stop(&lane);
  gate_destroy(&far.over);
  assert_int_equal(far.status, 0);
  assert_true(far.done_ns >= far.began_ns + 5 * MS_NS);
}

static void of_a_thousand_some_cancelled_each_ends_once_and_none_early(void **state) {
  enum { N = 1000 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  static tally_t *t[N];
  static uint64_t at_ns[N];
  static int cancelled[N];
  memset(cancelled, 0, sizeof cancelled);
  for (int i = 0; i < N; i++) {
    uint64_t ms = test_rand(&seed) % 60;
    t[i] = sleep_new();
    t[i]->keep = 1;
    at_ns[i] = uv_hrtime() + ms * MS_NS;
    sleep_start(t[i], f->root, ms);
  }
  for (int i = 0; i < 300; i++) {
    uint64_t k = test_rand(&seed) % N;
    if (uvf_op_cancel(t[k]->req) == 0) cancelled[k]++;
    if (i % 20 == 0) turn(&f->loop);
  }
  for (int i = 0; i < N; i++) run_tally(t[i]);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    assert_tally(t[i], cancelled[i] ? UV_ECANCELED : 0);
    assert_true(cancelled[i] <= 1);
    if (!cancelled[i]) assert_true(t[i]->done_ns >= at_ns[i]);
  }
  assert_int_equal(timeouts_armed(f->root), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(a_sleep_is_over_after_its_time_and_never_early),
      unit_io(a_nanosecond_before_its_time_it_sleeps),
      unit_io(sleeps_end_in_the_order_of_their_times),
      unit_io(a_time_too_far_to_be_counted_never_comes_and_only_the_end_of_the_context_ends_it),
      unit_io(a_sleep_begun_in_a_long_callback_counts_from_the_call),
      unit_io(a_loop_that_stands_still_wakes_nobody_and_everybody_once_when_it_turns),
      unit_io(whoever_ends_it_before_its_time_gives_the_status_at_once),
      unit_io(ended_between_its_ring_and_its_callback_it_is_answered_with_0),
      unit_io(a_cancel_after_its_callback_is_too_late),
      unit_io(a_sleep_that_rings_sees_a_cancel_that_its_loop_has_not_heard_of),
      unit_io(with_a_deadline_at_the_same_instant_the_deadline_is_first),
      unit_io(under_a_context_that_is_over_it_is_answered_with_its_err_and_never_sleeps),
      unit_io(null_arguments_are_refused_and_nothing_happens),
      unit_io(starting_one_twice_is_misuse),
      unit_io(it_costs_no_memory_and_no_handle_and_holds_the_loop_until_it_is_over),
      unit_io(closing_the_root_does_not_wait_for_the_time),
      unit_io(the_dump_names_it),
      unit_io(the_callback_may_start_the_same_request_again),
      unit_io(the_callback_may_cancel_others_those_that_are_due_are_answered_with_0),
      unit_io(the_callback_may_cancel_and_release_its_context),
      unit_io(the_callback_may_run_the_loop),
      unit_io(the_callback_may_close_the_root),
      unit_io(each_loop_wakes_its_own),
      unit_io(of_a_thousand_some_cancelled_each_ends_once_and_none_early),
  };
  io_main();
  return test_run(tests);
}
