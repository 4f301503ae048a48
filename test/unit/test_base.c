/* SPDX-License-Identifier: MIT
 *
 * base.h: version, memory, the layout of a request, and the cancel of one operation.
 */
#include <stdatomic.h>

#include "unit/probe.h"

/* --- before the first root: asked for in main, judged in a test --- */

static struct {
  int no_malloc, no_free, neither;
  int replaced, lists_off, lists_on;
} early;

static atomic_int replaced_calls;

static void *replaced_malloc(size_t size) {
  atomic_fetch_add(&replaced_calls, 1);
  return malloc(size);
}

static void replaced_free(void *p) {
  atomic_fetch_add(&replaced_calls, 1);
  free(p);
}

static void ask_early(void) {
  early.no_malloc = uvf_replace_allocator(NULL, replaced_free);
  early.no_free = uvf_replace_allocator(replaced_malloc, NULL);
  early.neither = uvf_replace_allocator(NULL, NULL);
  early.replaced = uvf_replace_allocator(replaced_malloc, replaced_free);
  early.lists_off = uvf_use_free_lists(0);
  early.lists_on = uvf_use_free_lists(1);
}

static void an_allocator_with_a_null_function_is_refused(void **state) {
  (void)state;
  assert_int_equal(early.no_malloc, UV_EINVAL);
  assert_int_equal(early.no_free, UV_EINVAL);
  assert_int_equal(early.neither, UV_EINVAL);
}

static void before_the_first_root_allocator_and_free_lists_may_be_chosen_again_and_again(void **state) {
  (void)state;
  assert_int_equal(early.replaced, 0);
  assert_int_equal(early.lists_off, 0);
  assert_int_equal(early.lists_on, 0);
}

static void the_last_allocator_given_serves_the_library_and_the_earlier_one_is_never_called(void **state) {
  fixture_t *f = *state;
  size_t before = test_alloc_count();
  uvf_ctx_t *held[64];
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) held[i] = child_of(f->root);
  /* 64 contexts need at most an allocation each, and the fixture's root came from the counting allocator too */
  assert_true(test_alloc_count() - before <= ARRAY_SIZE(held));
  assert_true(test_alloc_live() > f->blocks_before);
  assert_int_equal(atomic_load(&replaced_calls), 0);
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) uvf_ctx_release(held[i]);
}

static void after_the_first_root_replacing_the_allocator_is_busy_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *held[600];
  size_t before;
  assert_int_equal(uvf_replace_allocator(replaced_malloc, replaced_free), UV_EBUSY);
  before = test_alloc_count();
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) held[i] = child_of(f->root);
  assert_true(test_alloc_count() > before);
  assert_int_equal(atomic_load(&replaced_calls), 0);
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) uvf_ctx_release(held[i]);
  fixture_close_root(f);
  assert_int_equal(uvf_replace_allocator(replaced_malloc, replaced_free), UV_EBUSY);
}

static void after_the_first_root_choosing_free_lists_is_busy(void **state) {
  fixture_t *f = *state;
  assert_int_equal(uvf_use_free_lists(0), UV_EBUSY);
  assert_int_equal(uvf_use_free_lists(1), UV_EBUSY);
  fixture_close_root(f);
  assert_int_equal(uvf_use_free_lists(0), UV_EBUSY);
}

/* --- version --- */

static void the_version_that_runs_is_the_version_of_the_header(void **state) {
  char text[32];
  (void)state;
  assert_int_equal(uvf_version(), UVF_VERSION_HEX);
  assert_string_equal(uvf_version_string(), UVF_VERSION_STRING);
  snprintf(text, sizeof text, "%u.%u.%u", uvf_version() >> 16, (uvf_version() >> 8) & 0xff, uvf_version() & 0xff);
  assert_string_equal(uvf_version_string(), text);
  assert_ptr_equal(uvf_version_string(), uvf_version_string());
}

static void ask_version(void *arg) { *(unsigned int *)arg = uvf_version(); }

static void the_version_may_be_asked_on_any_thread(void **state) {
  unsigned int version = 0;
  (void)state;
  on_thread(ask_version, &version);
  assert_int_equal(version, UVF_VERSION_HEX);
}

/* --- layout --- */

#define P sizeof(void *)
#define OP_SIZE (8 * P + 8)

static void request_structs_have_not_grown(void **state) {
  static const struct {
    const char *name;
    size_t size, most;
  } rows[] = {
      {"uvf_op_t", sizeof(uvf_op_t), OP_SIZE},
      {"uvf_watch_t", sizeof(uvf_watch_t), OP_SIZE + P},
      {"uvf_guard_t", sizeof(uvf_guard_t), OP_SIZE + 2 * P},
      {"uvf_work_t", sizeof(uvf_work_t), OP_SIZE + 5 * P + 8},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    if (rows[i].size > rows[i].most)
      fail_msg("%s has %zu bytes, %zu allowed", rows[i].name, rows[i].size, rows[i].most);
  }
}

#define assert_begins_with_op(type)                                                                                    \
  do {                                                                                                                 \
    assert_int_equal(offsetof(type, data), offsetof(uvf_op_t, data));                                                  \
    assert_int_equal(offsetof(type, ctx), offsetof(uvf_op_t, ctx));                                                    \
    assert_int_equal(offsetof(type, status), offsetof(uvf_op_t, status));                                              \
    assert_int_equal(offsetof(type, uvf__state), offsetof(uvf_op_t, uvf__state));                                      \
    assert_int_equal(offsetof(type, uvf__live), offsetof(uvf_op_t, uvf__live));                                        \
    assert_true(sizeof(type) >= sizeof(uvf_op_t));                                                                     \
  } while (0)

static void every_request_struct_may_be_cast_to_its_base(void **state) {
  (void)state;
  assert_begins_with_op(uvf_watch_t);
  assert_begins_with_op(uvf_guard_t);
  assert_begins_with_op(uvf_work_t);
}

/* --- start and callback --- */

static void check_request(probe_t *probe) {
  uvf_ctx_t *ctx = probe->arg;
  probe->arg = (probe->watch.ctx == ctx && probe->watch.status == probe->status) ? probe : NULL;
}

static void a_start_initialises_everything_but_data_and_reads_none_of_it(void **state) {
  fixture_t *f = *state;
  int mine = 0;
  for (int fill = 0; fill <= 0xff; fill += 0x55) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {.arg = ctx, .then = check_request};
    memset(&probe.watch, fill, sizeof probe.watch);
    probe.watch.data = &mine;
    probe_start(&probe, ctx, 0, NULL);
    assert_ptr_equal(probe.watch.ctx, ctx);
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    run_until(&f->loop, &probe.calls, 1);
    assert_ptr_equal(probe.watch.data, &mine);
    assert_ptr_equal(probe.arg, &probe); /* ctx and status were readable inside the callback */
  }
}

static void from_the_callback_on_the_library_does_not_touch_the_request(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  unsigned char copy[sizeof probe.watch];
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  memset(&probe.watch, 0x5a, sizeof probe.watch);
  memset(copy, 0x5a, sizeof copy);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  fixture_close_root(f);
  assert_memory_equal(&probe.watch, copy, sizeof copy);
}

/* --- cancel of one operation --- */

typedef struct job_s {
  uvf_work_t work;
  int runs, calls, status;
  gate_t *started, *gate; /* NULL: fn returns at once */
} job_t;

static int run_job(uvf_work_t *work) {
  job_t *job = (job_t *)work;
  job->runs++;
  if (job->started != NULL) gate_open(job->started, 1);
  if (job->gate != NULL) gate_pass(job->gate);
  return 0;
}

static void on_job(uvf_work_t *work, int status) {
  job_t *job = (job_t *)work;
  job->calls++;
  job->status = status;
}

static void cancelling_an_operation_claims_it_and_nothing_else(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  gate_t started, gate;
  job_t job = {.started = &started, .gate = &gate}, other = {0};
  gate_init(&started);
  gate_init(&gate);
  probe_start(&probe, ctx, 0, NULL);
  assert_int_equal(uvf_work_start(ctx, &job.work, run_job, on_job, NULL), 0);
  assert_int_equal(uvf_work_start(ctx, &other.work, run_job, on_job, NULL), 0);
  gate_pass(&started);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&job.work), 0);
  assert_int_equal(job.calls, 0); /* never inside */
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&job.work), UV_EBUSY);
  gate_open(&gate, 1);
  run_until(&f->loop, &job.calls, 1);
  run_until(&f->loop, &other.calls, 1);
  assert_int_equal(job.status, UV_ECANCELED);
  assert_int_equal(job.work.status, UV_ECANCELED);
  assert_int_equal(other.status, 0);
  assert_int_equal(uvf_ctx_err(ctx), 0);
  assert_int_equal(probe.calls, 0);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  assert_int_equal(job.calls, 1);
  uvf_ctx_release(ctx);
  gate_destroy(&started);
  gate_destroy(&gate);
}

static void cancelling_an_operation_that_has_ended_is_busy_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  job_t job = {0};
  assert_int_equal(uvf_work_start(f->root, &job.work, run_job, on_job, NULL), 0);
  run_until(&f->loop, &job.calls, 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&job.work), UV_EBUSY);
  turn(&f->loop);
  assert_int_equal(job.calls, 1);
  assert_int_equal(job.status, 0);
  assert_int_equal(job.work.status, 0);
}

static void an_operation_its_context_has_ended_is_too_late_to_cancel(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  job_t job = {0};
  assert_int_equal(uvf_work_start(ctx, &job.work, run_job, on_job, NULL), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&job.work), UV_EBUSY);
  run_until(&f->loop, &job.calls, 1);
  assert_int_equal(job.status, UV_ETIMEDOUT);
  assert_int_equal(job.runs, 0);
  uvf_ctx_release(ctx);
}

static void cancel_refuses_null_watchers_and_guards(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  uvf_guard_t guard;
  uv_timer_t timer;
  assert_int_equal(uvf_op_cancel(NULL), UV_EINVAL);
  probe_start(&probe, ctx, 0, NULL);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&probe.watch), UV_EINVAL);
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  assert_int_equal(uvf_guard_start(ctx, &guard, (uv_handle_t *)&timer, NULL), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&guard), UV_EINVAL);
  turn(&f->loop);
  assert_int_equal(probe.calls, 0);
  assert_false(uv_is_closing((uv_handle_t *)&timer));
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  turn(&f->loop);
  assert_true(uv_is_closing((uv_handle_t *)&timer));
  uvf_ctx_release(ctx);
}

/* --- the wrong thread --- */

typedef struct foreign_s {
  uvf_ctx_t *ctx, *born;
  uvf_watch_t watch;
  int result;
  char rule[512];
} foreign_t;

static void foreign_watch_cb(uvf_watch_t *watch, int status) {
  (void)watch;
  (void)status;
}

static void foreign_derive(void *arg) {
  foreign_t *foreign = arg;
  foreign->result = uvf_ctx_with_cancel(foreign->ctx, &foreign->born);
}

static void foreign_start(void *arg) {
  foreign_t *foreign = arg;
  foreign->result = uvf_ctx_on_done(foreign->ctx, &foreign->watch, foreign_watch_cb);
}

static void (*foreign_call)(void *);

/* The jump of the rule hook must stay on the thread that broke the rule: the expectation stands here. */
static void expect_foreign(void *arg) {
  foreign_t *foreign = arg;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(foreign_call, arg);
    snprintf(foreign->rule, sizeof foreign->rule, "%s", rule != NULL ? rule : "");
  } else {
    foreign_call(arg);
  }
}

static void a_call_on_the_wrong_thread_is_stopped_in_debug_and_refused_in_release(void **state) {
  static const struct {
    void (*call)(void *);
    const char *function;
  } rows[] = {{foreign_derive, "uvf_ctx_with_cancel: "}, {foreign_start, "uvf_ctx_on_done: "}};
  fixture_t *f = *state;
  turn(&f->loop); /* from now on the loop's thread is known */
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    foreign_t foreign = {.ctx = child_of(f->root), .result = 1};
    uvf_stats_t before = stats_of(f->root);
    foreign_call = rows[i].call;
    on_thread(expect_foreign, &foreign);
    if (test_rules_on()) {
      assert_memory_equal(foreign.rule, rows[i].function, strlen(rows[i].function));
    } else {
      assert_int_equal(foreign.result, UV_EINVAL);
    }
    assert_null(foreign.born);
    assert_int_equal(stats_of(f->root).contexts, before.contexts);
    assert_int_equal(stats_of(f->root).ops, before.ops);
    uvf_ctx_release(foreign.ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(an_allocator_with_a_null_function_is_refused),
      unit(before_the_first_root_allocator_and_free_lists_may_be_chosen_again_and_again),
      unit(the_last_allocator_given_serves_the_library_and_the_earlier_one_is_never_called),
      unit(after_the_first_root_replacing_the_allocator_is_busy_and_changes_nothing),
      unit(after_the_first_root_choosing_free_lists_is_busy),
      unit(the_version_that_runs_is_the_version_of_the_header),
      unit(the_version_may_be_asked_on_any_thread),
      unit(request_structs_have_not_grown),
      unit(every_request_struct_may_be_cast_to_its_base),
      unit(a_start_initialises_everything_but_data_and_reads_none_of_it),
      unit(from_the_callback_on_the_library_does_not_touch_the_request),
      unit(cancelling_an_operation_claims_it_and_nothing_else),
      unit(cancelling_an_operation_that_has_ended_is_busy_and_changes_nothing),
      unit(an_operation_its_context_has_ended_is_too_late_to_cancel),
      unit(cancel_refuses_null_watchers_and_guards),
      unit(a_call_on_the_wrong_thread_is_stopped_in_debug_and_refused_in_release),
  };
  ask_early();
  return test_run(tests);
}
