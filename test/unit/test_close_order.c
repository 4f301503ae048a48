/* SPDX-License-Identifier: MIT
 *
 * The end of a root: what comes before its close callback, what may still be started until then at every point of a
 * turn, what is refused from then on, and what outlives it. Each with the root alone on its loop and beside another:
 * the last root of a loop takes the handles with it, the others do not.
 */
#include "probe.h"

/* Two roots on one loop. The fixture's own is the first; it is closed by the test or by the teardown. */
typedef struct end_s {
  fixture_t *f;
  uvf_ctx_t *other;
  int closed;       /* of the root under test */
  int other_closed; /* of the other */
  journal_t journal;
} end_t;

static end_t end;

enum { ROOT_CLOSED = 1000 };

static void on_end_closed(uvf_ctx_t *root) {
  (void)root;
  journal_add(&end.journal, ROOT_CLOSED);
  end.closed++;
}

static void on_other_closed(uvf_ctx_t *root) {
  (void)root;
  end.other_closed++;
}

static void end_begin(void **state, int with_other) {
  memset(&end, 0, sizeof end);
  end.f = *state;
  if (with_other) assert_int_equal(uvf_ctx_background(&end.f->loop, &end.other), 0);
}

static void close_tested(void) {
  uvf_ctx_t *root = end.f->root;
  end.f->root = NULL;
  uvf_ctx_close(root, on_end_closed);
}

static void close_other(void) {
  uvf_ctx_t *other = end.other;
  end.other = NULL;
  if (other != NULL) uvf_ctx_close(other, on_other_closed);
}

static void end_finish(void) {
  int wanted = end.other != NULL;
  close_other();
  if (wanted) run_until(&end.f->loop, &end.other_closed, 1);
}

/* --- bound handles --- */

enum { HANDLES = 5 };

typedef struct bound_s {
  uvf_guard_t guard;
  uv_timer_t timer;
  int id;
} bound_t;

static void on_bound_closed(uv_handle_t *handle) { journal_add(&end.journal, ((bound_t *)handle->data)->id); }

static void the_close_callbacks_of_bound_handles_come_before_the_roots(void **state) {
  static bound_t bound[HANDLES];
  for (int with_other = 0; with_other < 2; with_other++) {
    for (int turns = 0; turns < 2; turns++) { /* closed before the loop has ever run, and later */
      fixture_t *f = *state;
      end_begin(state, with_other);
      if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
      for (int i = 0; i < HANDLES; i++) {
        uvf_ctx_t *ctx = child_of(f->root);
        bound[i].id = i;
        assert_int_equal(uv_timer_init(&f->loop, &bound[i].timer), 0);
        bound[i].timer.data = &bound[i];
        assert_int_equal(uvf_guard_start(ctx, &bound[i].guard, (uv_handle_t *)&bound[i].timer, on_bound_closed), 0);
        uvf_ctx_release(ctx);
      }
      if (turns) turn(&f->loop);
      close_tested();
      assert_int_equal(end.journal.n, 0);
      run_until(&f->loop, &end.closed, 1);
      assert_int_equal(end.journal.n, HANDLES + 1);
      assert_int_equal(journal_find(&end.journal, ROOT_CLOSED), HANDLES);
      end_finish();
    }
  }
}

/* A guard's handle that is closed while the root is on its way out. */
static void also_of_a_handle_that_was_bound_when_the_root_was_already_closing(void **state) {
  static bound_t bound;
  for (int with_other = 0; with_other < 2; with_other++) {
    fixture_t *f = *state;
    uvf_ctx_t *ctx;
    end_begin(state, with_other);
    if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    ctx = child_of(f->root);
    close_tested();
    bound.id = 1;
    assert_int_equal(uv_timer_init(&f->loop, &bound.timer), 0);
    bound.timer.data = &bound;
    assert_int_equal(uvf_guard_start(ctx, &bound.guard, (uv_handle_t *)&bound.timer, on_bound_closed), 0);
    uvf_ctx_release(ctx);
    run_until(&f->loop, &end.closed, 1);
    assert_journal(&end.journal, 1, ROOT_CLOSED);
    end_finish();
  }
}

/* --- starting while the root closes --- */

/* Where in a turn of the loop something is started. libuv runs the check handle that was started last first: so one is
 * started before the library's own, and one after. */
enum { IN_TIMER, IN_IDLE, IN_PREPARE, IN_CHECK_BEFORE, IN_CHECK_AFTER, IN_CLOSE, PLACES };
static const char *const places[] = {"timer", "idle", "prepare", "check", "a later check", "close callback"};

typedef struct late_s {
  uv_loop_t loop;
  uvf_ctx_t *root, *other, *ctx;
  int closed, other_closed;
  int place, at; /* where, and in which turn since the close */
  int turn;
  int started, answered, answered_before_close, status;
  int err;
  uvf_watch_t watch;
  uv_timer_t timer;
  uv_idle_t idle;
  uv_prepare_t prepare;
  uv_check_t before, after;
  uv_idle_t closing;
  int closing_open;
} late_t;

static late_t late;

static void on_late(uvf_watch_t *watch, int status) {
  (void)watch;
  late.answered++;
  late.status = status;
  late.answered_before_close = !late.closed;
}
static void on_late_closed(uvf_ctx_t *root) {
  (void)root;
  late.closed++;
}
static void on_late_other_closed(uvf_ctx_t *root) {
  (void)root;
  late.other_closed++;
}

static void late_start(void *arg) {
  (void)arg;
  late.err = uvf_ctx_on_done(late.ctx, &late.watch, on_late);
}

/* A debug build would stop here where a release build refuses: both are told in one line, with the place. */
static void late_place(int place) {
  if (place != late.place || late.turn != late.at || late.started || late.closed) return;
  late.started = 1;
  if (!test_rules_on()) {
    late_start(NULL);
  } else if (test_expect_rule(late_start, NULL) != NULL) {
    late.err = UV_EINVAL;
  }
}
static void late_timer(uv_timer_t *handle) {
  (void)handle;
  late_place(IN_TIMER);
}
static void late_idle(uv_idle_t *handle) {
  (void)handle;
  late_place(IN_IDLE);
}
static void late_prepare(uv_prepare_t *handle) {
  (void)handle;
  late_place(IN_PREPARE);
}
static void late_before(uv_check_t *handle) {
  (void)handle;
  late_place(IN_CHECK_BEFORE);
}
static void late_after(uv_check_t *handle) {
  (void)handle;
  late_place(IN_CHECK_AFTER);
}
static void late_in_close(uv_handle_t *handle) {
  (void)handle;
  late.closing_open = 0;
  late_place(IN_CLOSE);
}

static void late_open(int place, int at, int others) {
  memset(&late, 0, sizeof late);
  late.place = place;
  late.at = at;
  assert_int_equal(uv_loop_init(&late.loop), 0);
  assert_int_equal(uv_timer_init(&late.loop, &late.timer), 0);
  assert_int_equal(uv_idle_init(&late.loop, &late.idle), 0);
  assert_int_equal(uv_prepare_init(&late.loop, &late.prepare), 0);
  assert_int_equal(uv_check_init(&late.loop, &late.before), 0);
  assert_int_equal(uv_check_init(&late.loop, &late.after), 0);
  assert_int_equal(uv_check_start(&late.after, late_after), 0);
  assert_int_equal(uvf_ctx_background(&late.loop, &late.root), 0);
  if (others) assert_int_equal(uvf_ctx_background(&late.loop, &late.other), 0);
  assert_int_equal(uv_check_start(&late.before, late_before), 0);
  assert_int_equal(uv_prepare_start(&late.prepare, late_prepare), 0);
  assert_int_equal(uv_idle_start(&late.idle, late_idle), 0);
  late.ctx = child_of(late.root);
}

static void late_turn(void) {
  uv_update_time(&late.loop);
  assert_int_equal(uv_timer_start(&late.timer, late_timer, 0, 0), 0);
  if (!late.closing_open && late.place == IN_CLOSE) {
    assert_int_equal(uv_idle_init(&late.loop, &late.closing), 0);
    late.closing_open = 1;
    uv_close((uv_handle_t *)&late.closing, late_in_close);
  }
  uv_run(&late.loop, UV_RUN_NOWAIT);
  late.turn++;
}

static void late_end(void) {
  uvf_ctx_release(late.ctx);
  uv_close((uv_handle_t *)&late.timer, NULL);
  uv_close((uv_handle_t *)&late.idle, NULL);
  uv_close((uv_handle_t *)&late.prepare, NULL);
  uv_close((uv_handle_t *)&late.before, NULL);
  uv_close((uv_handle_t *)&late.after, NULL);
  uv_run(&late.loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&late.loop), 0);
}

/* others: 0 the root is alone; 1 another stays; 2 the other is closed too, in the same moment; 3 a moment later, so
 * that the one is on its way while the other settles. */
static int late_case(int place, int at, int others, int *bad) {
  int started, good;
  late_open(place, at, others > 0);
  uv_run(&late.loop, UV_RUN_NOWAIT);
  uvf_ctx_close(late.root, on_late_closed);
  if (others == 2) uvf_ctx_close(late.other, on_late_other_closed);
  for (int i = 0; i < 50 && !late.closed; i++) {
    late_turn();
    if (others == 3 && i == 0) uvf_ctx_close(late.other, on_late_other_closed);
  }
  started = late.started;
  good = late.err == 0 && late.answered == 1 && late.answered_before_close && late.status == UV_ECANCELED;
  if (started && !good) {
    (*bad)++;
    print_error("started in %s of turn %d, others %d: err %d, answered %d times, before the close callback %d\n",
                places[place], at, others, late.err, late.answered, late.answered_before_close);
  }
  assert_int_equal(late.closed, 1);
  if (others == 1) uvf_ctx_close(late.other, on_late_other_closed);
  for (int i = 0; i < 50 && others > 0 && !late.other_closed; i++) late_turn();
  assert_int_equal(late.other_closed, others > 0);
  late_end();
  return started;
}

static void what_is_started_until_the_close_callback_is_answered_before_it(void **state) {
  int bad = 0;
  (void)state;
  for (int others = 0; others < 4; others++) {
    for (int place = 0; place < PLACES; place++) {
      int at = 0;
      while (late_case(place, at, others, &bad)) {
        at++;
        assert_true(at < 40);
      }
      assert_true(at > 0); /* at least in the first turn it was still open */
    }
  }
  assert_int_equal(bad, 0);
}

/* --- after the close callback --- */

typedef struct gone_s {
  uvf_ctx_t *ctx;
  uvf_ctx_t *live; /* under the other root */
  int what;
  int rc;
  uvf_watch_t watch;
  uvf_work_t job;
  uvf_guard_t guard;
  uv_timer_t timer;
} gone_t;

static void on_never(uvf_watch_t *watch, int status) {
  (void)watch;
  (void)status;
  abort();
}
static int never_fn(uvf_work_t *job) {
  (void)job;
  abort();
}

enum { KINDS = ARRAY_SIZE(kinds), WATCH = KINDS, JOB, GUARD, WAYS };

static void use_gone(void *arg) {
  gone_t *gone = arg;
  uvf_ctx_t *out = NULL;
  switch (gone->what) {
    case WATCH: gone->rc = uvf_ctx_on_done(gone->ctx, &gone->watch, on_never); break;
    case JOB: gone->rc = uvf_work_start(gone->ctx, &gone->job, never_fn, NULL, NULL); break;
    case GUARD: gone->rc = uvf_guard_start(gone->ctx, &gone->guard, (uv_handle_t *)&gone->timer, NULL); break;
    default: gone->rc = kinds[gone->what].derive(gone->ctx, &out); break;
  }
}

static void after_the_close_callback_deriving_and_starting_are_refused(void **state) {
  static gone_t gone;
  for (int with_other = 0; with_other < 2; with_other++) {
    fixture_t *f = *state;
    end_begin(state, with_other);
    if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    memset(&gone, 0, sizeof gone);
    gone.ctx = child_of(f->root);
    assert_int_equal(uv_timer_init(&f->loop, &gone.timer), 0);
    close_tested();
    run_until(&f->loop, &end.closed, 1);
    for (gone.what = 0; gone.what < WAYS; gone.what++) {
      const char *rule;
      gone.rc = 0;
      rule = test_expect_rule(use_gone, &gone);
      if (test_rules_on()) {
        assert_non_null(rule);
        assert_non_null(strstr(rule, "the root of this context is closed"));
      } else {
        use_gone(&gone);
        assert_int_equal(gone.rc, UV_EINVAL);
      }
    }
    assert_over(gone.ctx, UV_ECANCELED, UV_ESHUTDOWN); /* asking goes on */
    uvf_ctx_release(uvf_ctx_retain(gone.ctx));
    uvf_ctx_release(gone.ctx);
    uv_close((uv_handle_t *)&gone.timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    end_finish();
  }
}

/* --- what outlives the root --- */

static int freed;
static void on_value_freed(void *value) {
  (void)value;
  freed++;
}

/* The context's reference is the last thing that keeps the root's memory; giving it back must not touch it any more. */
static void a_value_released_after_its_roots_close_is_freed_once_while_another_root_lives(void **state) {
  static const int key;
  static int word;
  for (int order = 0; order < 3; order++) {
    fixture_t *f = *state;
    uvf_ctx_t *value, *child, *below;
    end_begin(state, 1);
    if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    freed = 0;
    value = value_of(f->root, &key, &word, on_value_freed);
    below = child_of(value);
    child = child_of(f->root);
    close_tested();
    run_until(&f->loop, &end.closed, 1);
    assert_int_equal(freed, 0);
    assert_ptr_equal(uvf_ctx_value(below, &key), &word);
    if (order == 0) uvf_ctx_release(child);
    uvf_ctx_release(value);
    turn(&f->loop);
    assert_int_equal(freed, 0);
    if (order == 1) uvf_ctx_release(child);
    uvf_ctx_release(below);
    turn(&f->loop);
    assert_int_equal(freed, 1);
    if (order == 2) uvf_ctx_release(child);
    turn(&f->loop);
    assert_int_equal(stats_of(end.other).contexts, 1);
    assert_int_equal(stats_of(end.other).live, 1);
    end_finish();
    assert_int_equal(freed, 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_close_callbacks_of_bound_handles_come_before_the_roots),
      unit(also_of_a_handle_that_was_bound_when_the_root_was_already_closing),
      unit(what_is_started_until_the_close_callback_is_answered_before_it),
      unit(after_the_close_callback_deriving_and_starting_are_refused),
      unit(a_value_released_after_its_roots_close_is_freed_once_while_another_root_lives),
  };
  return test_run(tests);
}
