/* SPDX-License-Identifier: MIT
 *
 * How a retry ends before it is decided, at each moment and in each way: the callbacks come once, in order, and after
 * every attempt has ended. The order is forced: attempts end when the test says so, the clock moves when it says so.
 */
#include "io/io.h"
#include "unit/retry_probe.h"

typedef enum moment_e {
  BEFORE,        /* started; the first attempt has not begun */
  RUNNING,       /* one attempt runs */
  HEDGED,        /* three run */
  PAUSE,         /* one has failed, the next is to come */
  STARTING,      /* inside the first start */
  STARTING_NEXT, /* inside the second, which a timeout began */
  ASKING,        /* inside retryable */
  DECIDED,       /* one has succeeded, done is due, two run */
  TELLING,       /* inside done */
  TOLD,          /* done was called (with a release callback), two run */
  MOMENTS
} moment_t;

typedef enum way_e { BY_OP, BY_CTX, BY_THREAD, BY_DEADLINE, BY_ROOT, WAYS } way_t;

#define DEADLINE_MS 1000

typedef struct row_s {
  call_t call;
  moment_t moment;
  way_t way;
  int release;
  how_t how;   /* what the start does that the end comes in */
  int success; /* ... and with what */
  uv_loop_t *loop;
  uvf_ctx_t *root, *ctx;
  uvf_ctx_t *kept[CALL_MAX];
  int ended, rc;
} row_t;

static int roots_closed;

static void on_row_closed(uvf_ctx_t *root) {
  (void)root;
  roots_closed++;
}

static void cancel_there(void *arg) { uvf_ctx_cancel_cause(arg, 77, NULL); }

static void row_end(row_t *r) {
  if (r->ended) return;
  r->ended = 1;
  r->call.in_call++;
  switch (r->way) {
    case BY_OP: r->rc = uvf_op_cancel((uvf_op_t *)&r->call.retry); break;
    case BY_CTX: uvf_ctx_cancel_cause(r->ctx, 77, NULL); break;
    case BY_THREAD: on_thread(cancel_there, r->ctx); break;
    case BY_DEADLINE:
      fake_ns = uvf_ctx_deadline_ns(r->ctx);
      uvf__hub_run_deadlines(uvf__hub_find(r->loop));
      break;
    default:
      uvf_ctx_close(r->root, on_row_closed);
      r->root = NULL;
      break;
  }
  r->call.in_call--;
}

static void row_in_start(call_t *call, uvf_attempt_t *attempt) {
  row_t *r = call->arg;
  r->kept[attempt->number] = uvf_ctx_retain(attempt->ctx);
  if (r->moment == STARTING || (r->moment == STARTING_NEXT && attempt->number == 1)) row_end(r);
}

static void row_in_retryable(call_t *call) {
  if (((row_t *)call->arg)->moment == ASKING) row_end(call->arg);
}

static void row_in_done(call_t *call) {
  if (((row_t *)call->arg)->moment == TELLING) row_end(call->arg);
}

/* Brings it to its moment and ends it there. */
static void row_run(row_t *r) {
  call_t *call = &r->call;
  turn(r->loop);
  if (r->moment == PAUSE || r->moment == STARTING_NEXT) assert_int_equal(finish(call, 0, UV_EIO), 0);
  if (r->moment == STARTING_NEXT) {
    for (int i = 0; i < 13; i++) pass_ms(r->loop, 1);
  }
  if (r->moment == HEDGED || r->moment >= DECIDED) {
    pass_ms(r->loop, 5);
    pass_ms(r->loop, 5);
  }
  if (r->moment == ASKING) assert_int_equal(finish(call, 0, UV_EIO), 0);
  if (r->moment >= DECIDED) assert_int_equal(finish(call, 1, 0), 0);
  if (r->moment == TOLD) turn(r->loop);
  if (r->moment == TELLING && !r->release) { /* done waits for the losers */
    assert_int_equal(finish(call, 0, UV_ECANCELED), 0);
    assert_int_equal(finish(call, 2, UV_ECANCELED), 0);
  }
  if (r->moment == TELLING) turn(r->loop);
  row_end(r); /* if it has not come yet */
}

static void row_check_contexts(row_t *r) {
  static const int causes[WAYS] = {UV_ECANCELED, 77, 77, UV_ETIMEDOUT, UV_ESHUTDOWN};
  static const int errs[WAYS] = {UV_ECANCELED, UV_ECANCELED, UV_ECANCELED, UV_ETIMEDOUT, UV_ECANCELED};
  for (unsigned int i = 0; i < r->call.n; i++) {
    int state = (int)r->call.attempts[i].uvf__state;
    if (state != 2 && state != 3) continue;
    if (r->moment >= DECIDED) {
      assert_over(r->kept[i], UV_ECANCELED, UV_ECANCELED); /* it had lost before */
    } else {
      assert_over(r->kept[i], errs[r->way], causes[r->way]);
    }
  }
}

/* Ends what runs still, one by one. */
static void row_finish(row_t *r) {
  call_t *call = &r->call;
  for (unsigned int i = 0; i < call->n && running_of(call) > 0; i++) {
    int told = r->release ? 1 : 0;
    if (call->attempts[i].uvf__state != 2 && call->attempts[i].uvf__state != 3) continue;
    assert_call(call, call->starts, told, 0);
    if (r->way == BY_ROOT) assert_int_equal(roots_closed, 0); /* it waits for them */
    assert_int_equal(finish(call, i, i % 2 ? 0 : UV_EIO), 0);
    assert_call(call, call->starts, told, 0);
    turn(r->loop);
  }
}

static void row_check(row_t *r) {
  static const int starts[MOMENTS] = {0, 1, 3, 1, 1, 2, 1, 3, 3, 3};
  call_t *call = &r->call;
  int wanted = r->moment >= DECIDED ? 0 : r->way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED;
  assert_call(call, starts[r->moment], 1, r->release);
  assert_int_equal(call->status, wanted);
  if (r->way == BY_OP) assert_int_equal(r->rc, r->moment >= DECIDED ? UV_EBUSY : 0);
  if (wanted == 0) assert_ptr_equal(call->retry.winner, &call->attempts[1]);
  assert_int_equal(r->ended, 1);
  if (r->way == BY_OP) assert_int_equal(uvf_ctx_err(r->ctx), 0);
}

static void row_of(fixture_t *f, row_t *r) {
  const step_t steps[2] = {{r->moment == STARTING ? r->how : LATER, r->success ? 0 : UV_EPIPE, 0},
                           {r->moment == STARTING_NEXT ? r->how : LATER, r->success ? 0 : UV_EPIPE, 0}};
  uvf_retry_options_t o = options_of(10, 10, r->moment == HEDGED || r->moment >= DECIDED ? 5 : UVF_NO_LIMIT);
  size_t blocks = test_alloc_live();
  roots_closed = 0;
  r->loop = &f->loop;
  assert_int_equal(uvf_ctx_background(&f->loop, &r->root), 0);
  r->ctx = timeout_of(r->root, DEADLINE_MS);
  call_init(&r->call, steps, 2, 3);
  r->call.in_start = row_in_start;
  r->call.in_retryable = row_in_retryable;
  r->call.in_done = row_in_done;
  r->call.arg = r;
  r->call.answer = r->success; /* of ASKING */
  if (r->moment == PAUSE || r->moment == STARTING_NEXT) r->call.answer = 1;
  call_start(&r->call, r->ctx, &o, r->release);
  if (r->moment == BEFORE) {
    row_end(r);
    assert_call(&r->call, 0, 0, 0);
  } else {
    row_run(r);
  }
  turn(&f->loop);
  row_check_contexts(r);
  row_finish(r);
  for (int i = 0; i < 30; i++) pass_ms(&f->loop, 1); /* nothing comes late */
  row_check(r);
  for (int i = 0; i < CALL_MAX; i++) uvf_ctx_release(r->kept[i]);
  uvf_ctx_release(r->ctx);
  if (r->root != NULL) uvf_ctx_close(r->root, on_row_closed);
  run_until(&f->loop, &roots_closed, 1);
  assert_int_equal(test_alloc_live(), blocks);
}

static void ended_at_each_moment_in_each_way_each_callback_comes_once_and_in_order(void **state) {
  for (int moment = 0; moment < MOMENTS; moment++) {
    for (int way = 0; way < WAYS; way++) {
      for (int variant = 0; variant < 12; variant++) {
        row_t r = {.moment = (moment_t)moment,
                   .way = (way_t)way,
                   .release = variant % 2,
                   .success = variant / 2 % 2,
                   .how = (how_t[]){LATER, AT_ONCE, INSIDE}[variant / 4]};
        if (r.how == AT_ONCE && r.success) continue; /* 0 would be LATER */
        if (variant >= 4 && moment != STARTING && moment != STARTING_NEXT) continue;
        if (moment == TOLD && !r.release) continue;
        row_of(*state, &r);
      }
    }
  }
}

/* --- the end is there, but not known yet --- */

static void a_result_is_nothing_when_another_thread_has_cancelled_before_it(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 8; row++) {
    uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call;
    CALL_INIT(call, 4, {LATER, 0, 0});
    call.answer = row / 4;
    call_start(&call, ctx, &o, row & 1);
    turn(&f->loop);
    on_thread(cancel_there, ctx);
    assert_int_equal(finish(&call, 0, row & 2 ? UV_EIO : 0), 0);
    pass_ms(&f->loop, 10);
    assert_call(&call, 1, 1, row & 1);
    assert_int_equal(call.status, UV_ECANCELED);
    assert_null(call.retry.winner);
    uvf_ctx_release(ctx);
  }
}

static void the_first_attempt_does_not_begin_when_another_thread_has_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t call;
  CALL_INIT(call, 4, {LATER, 0, 0});
  call_start(&call, ctx, NULL, 1); /* its post is before that of the cancel */
  on_thread(cancel_there, ctx);
  turn(&f->loop);
  assert_call(&call, 0, 1, 1);
  assert_int_equal(call.status, UV_ECANCELED);
  uvf_ctx_release(ctx);
}

static void started_under_a_context_that_is_over_nothing_begins(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 4; row++) {
    uvf_ctx_t *ctx = row & 1 ? timeout_of(f->root, 0) : child_of(f->root);
    call_t call;
    CALL_INIT(call, 4, {LATER, 0, 0});
    uvf_ctx_cancel(ctx);
    call_start(&call, ctx, NULL, row & 2);
    assert_call(&call, 0, 0, 0);
    turn(&f->loop);
    assert_call(&call, 0, 1, row & 2 ? 1 : 0);
    assert_int_equal(call.status, row & 1 ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(call.retry.started, 0);
    uvf_ctx_release(ctx);
  }
}

/* --- memory --- */

/* With contexts as allocations of their own: main sets that. */
static void an_attempt_that_finds_no_memory_has_failed_with_that(void **state) {
  fixture_t *f = *state;
  for (unsigned int n = 1; n < 3; n++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    call_t call;
    CALL_INIT(call, n, {INSIDE, 0, 0});
    call_start(&call, f->root, &o, 1);
    test_alloc_fail_at(1);
    turn(&f->loop);
    assert_true(test_alloc_failed());
    test_alloc_fail_at(0);
    for (int i = 0; i < 13; i++) pass_ms(&f->loop, 1);
    assert_call(&call, (int)n - 1, 1, 1);
    assert_int_equal(call.attempts[0].status, UV_ENOMEM);
    assert_int_equal(call.status, n == 1 ? UV_ENOMEM : 0);
    assert_int_equal(call.retry.started, n);
    assert_int_equal(call.retry.failed, 1);
  }
}

static void an_attempt_that_finds_no_memory_takes_no_token(void **state) {
  fixture_t *f = *state;
  for (int retryable = 0; retryable < 2; retryable++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    uvf_retry_budget_t budget;
    call_t call;
    CALL_INIT(call, 2, {INSIDE, 0, 0});
    call.answer = retryable;
    assert_int_equal(uvf_retry_budget_init(&budget, 10, 0.5), 0);
    o.budget = &budget;
    call_start(&call, f->root, &o, 1);
    test_alloc_fail_at(1);
    turn(&f->loop);
    assert_true(test_alloc_failed());
    test_alloc_fail_at(0);
    assert_int_equal(call.asked, 1);
    assert_int_equal(call.attempts[0].status, UV_ENOMEM);
    assert_true(uvf_retry_budget_tokens(&budget) > 9.999);
    for (int i = 0; i < 13; i++) pass_ms(&f->loop, 1);
    assert_call(&call, retryable, 1, 1);
    assert_int_equal(call.status, retryable ? 0 : UV_ENOMEM);
    assert_true(uvf_retry_budget_tokens(&budget) > 9.999);
  }
}

static void starting_and_ending_take_no_memory_of_their_own(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  size_t before = test_alloc_count();
  call_t call;
  CALL_INIT(call, 3, {INSIDE, UV_EIO, 0});
  call_start(&call, f->root, &o, 1);
  pass_until_done(&call, &f->loop, 100);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(test_alloc_count() - before, 3); /* the attempts' contexts */
}

static int freed;

static void free_call(call_t *call) {
  freed += call->wrong == 0 && call->dones == 1 && running_of(call) == 0;
  memset(call, 0xdd, sizeof *call);
  free(call);
}

static void the_last_callback_may_free_the_retry_and_its_attempts(void **state) {
  static const step_t steps[] = {{SLEEPS, 0, 50}, {SLEEPS, 0, 20}, {SLEEPS, UV_EIO, 5}};
  fixture_t *f = *state;
  for (int row = 0; row < 16; row++) {
    uvf_retry_options_t o = options_of(10, 10, row & 2 ? 5 : UVF_NO_LIMIT);
    uvf_ctx_t *ctx = child_of(f->root);
    call_t *call = malloc(sizeof *call);
    assert_non_null(call);
    call_init(call, row & 8 ? &steps[2] : steps, 3, 3);
    call->nsteps = row & 8 ? 1 : 3;
    if (row & 1) {
      call->in_release = free_call;
    } else {
      call->in_done = free_call;
    }
    call_start(call, ctx, &o, row & 1);
    freed = 0;
    if (row & 4) {
      turn(&f->loop);
      pass_ms(&f->loop, 3);
      uvf_ctx_cancel(ctx);
    }
    uvf_ctx_release(ctx); /* the retry keeps it */
    for (int i = 0; i < 100; i++) pass_ms(&f->loop, 1);
    assert_int_equal(freed, 1);
    assert_int_equal(stats_of(f->root).contexts, 1);
  }
}

static void free_the_losers_late(call_t *call) {
  int *told = call->arg;
  *told = 1;
  for (unsigned int i = 0; i < call->n; i++) {
    if (call->attempts[i].uvf__state == 3) uvf_attempt_done(&call->attempts[i], UV_ECANCELED);
  }
}

static void attempts_may_end_inside_done_and_release_follows_once(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 5);
  int told = 0;
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call.in_done = free_the_losers_late;
  call.arg = &told;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 5);
  pass_ms(&f->loop, 5);
  assert_int_equal(finish(&call, 1, 0), 0);
  turn(&f->loop);
  assert_int_equal(told, 1);
  assert_call(&call, 3, 1, 1);
}

/* --- again --- */

static void start_again(call_t *call) {
  int *left = call->arg;
  uvf_retry_options_t o = options_of(1, 1, UVF_NO_LIMIT);
  int release = call->releases;
  if ((*left)-- == 0) return;
  call->starts = call->dones = call->releases = 0;
  call->wrong += uvf_retry_start(call->retry.ctx, &call->retry, call->attempts, call->n, &o, on_call_start,
                                 on_call_done, release ? on_call_release : NULL) != 0;
}

static void the_last_callback_may_start_the_same_memory_again(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    int left = 20;
    uvf_retry_options_t o = options_of(1, 1, UVF_NO_LIMIT);
    call_t call;
    CALL_INIT(call, 2, {INSIDE, UV_EIO, 0}, {INSIDE, 0, 0});
    if (release) {
      call.in_release = start_again;
    } else {
      call.in_done = start_again;
    }
    call.arg = &left;
    call_start(&call, f->root, &o, release);
    for (int i = 0; i < 100; i++) pass_ms(&f->loop, 1);
    assert_int_equal(left, -1);
    assert_call(&call, 2, 1, release);
  }
}

/* --- refused, misused --- */

static int never_start(uvf_attempt_t *attempt) {
  (void)attempt;
  abort();
}

static void null_arguments_and_no_attempts_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_attempt_t attempts[2];
  uvf_retry_t retry;
  assert_int_equal(uvf_retry_start(NULL, &retry, attempts, 2, NULL, never_start, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_retry_start(f->root, NULL, attempts, 2, NULL, never_start, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_retry_start(f->root, &retry, NULL, 2, NULL, never_start, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_retry_start(f->root, &retry, attempts, 0, NULL, never_start, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_retry_start(f->root, &retry, attempts, 2, NULL, NULL, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_attempt_done(NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_op_cancel(NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
}

static void do_finish(void *arg) { finish(arg, 0, 0); }

static void do_finish_third(void *arg) { finish(arg, 2, 0); }

static void do_start(void *arg) {
  call_t *call = arg;
  uvf_retry_start(call->retry.ctx, &call->retry, call->attempts, 3, NULL, on_call_start, NULL, NULL);
}

static void expect_refused(call_t *call, void (*fn)(void *), const char *function, unsigned int attempt) {
  if (test_rules_on()) {
    const char *rule = test_expect_rule(fn, call);
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
    call->in_call = 0;
  } else {
    assert_int_equal(finish(call, attempt, 0), UV_EINVAL);
  }
}

static void an_attempt_that_does_not_run_cannot_end(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 5);
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  expect_refused(&call, do_finish, "uvf_attempt_done", 0); /* has not begun */
  turn(&f->loop);
  pass_ms(&f->loop, 5);
  assert_int_equal(finish(&call, 0, UV_EIO), 0);
  expect_refused(&call, do_finish, "uvf_attempt_done", 0); /* is done */
  expect_refused(&call, do_finish_third, "uvf_attempt_done", 2);
  assert_int_equal(call.retry.failed, 1);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(do_start, &call);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_retry_start", strlen("uvf_retry_start"));
  }
  assert_int_equal(finish(&call, 1, 0), 0);
  turn(&f->loop);
  assert_call(&call, 2, 1, 1);
  expect_refused(&call, do_finish, "uvf_attempt_done", 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&call.retry), UV_EBUSY);
}

static void done_in_start(call_t *call, uvf_attempt_t *attempt) {
  if (attempt->number == 1 && finish(call, 1, 0) != 0) call->wrong++;
}

static void pause_ends(void *arg) { pass_ms(arg, 10); }

/* The second attempt, since that begins in pass_ms: the rule jumps out of no callback of libuv's. What it has jumped
 * over is made good below: the hold of the timeout that has begun the attempt. */
static void a_start_that_is_done_and_returns_an_error_is_misuse(void **state) {
  static const step_t rows[][2] = {{{AT_ONCE, UV_EIO, 0}, {AT_ONCE, UV_EIO, 0}},
                                   {{AT_ONCE, UV_EIO, 0}, {AT_ONCE, 0, 0}}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    int wrong = i == 0;
    call_t call;
    call_init(&call, rows[i], 2, 3);
    call.in_start = done_in_start;
    call_start(&call, f->root, &o, 1);
    turn(&f->loop);
    assert_int_equal(call.starts, 1);
    if (wrong && test_rules_on()) {
      const char *rule;
      fake_ns += 3 * MS_NS; /* the pause may be a fifth longer */
      rule = test_expect_rule(pause_ends, &f->loop);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_attempt_start_cb", strlen("uvf_attempt_start_cb"));
      call.retry.uvf__held.held--;
      uvf__held_settle((uvf_op_t *)(void *)&call.retry);
    } else {
      pass_ms(&f->loop, 13);
    }
    turn(&f->loop);
    assert_call(&call, 2, 1, 1);
    assert_int_equal(call.status, 0); /* what uvf_attempt_done has said */
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_clock(ended_at_each_moment_in_each_way_each_callback_comes_once_and_in_order),
      unit_clock(a_result_is_nothing_when_another_thread_has_cancelled_before_it),
      unit_clock(the_first_attempt_does_not_begin_when_another_thread_has_cancelled),
      unit_clock(started_under_a_context_that_is_over_nothing_begins),
      unit_clock(an_attempt_that_finds_no_memory_has_failed_with_that),
      unit_clock(an_attempt_that_finds_no_memory_takes_no_token),
      unit_clock(starting_and_ending_take_no_memory_of_their_own),
      unit_clock(the_last_callback_may_free_the_retry_and_its_attempts),
      unit_clock(attempts_may_end_inside_done_and_release_follows_once),
      unit_clock(the_last_callback_may_start_the_same_memory_again),
      unit_clock(null_arguments_and_no_attempts_are_refused),
      unit_clock(an_attempt_that_does_not_run_cannot_end),
      unit_clock(a_start_that_is_done_and_returns_an_error_is_misuse),
  };
  uvf_use_free_lists(0);
  return test_run(tests);
}
