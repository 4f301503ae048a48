/* SPDX-License-Identifier: MIT
 *
 * Services: whichever ends first, and however, ends all; the callback comes once, when the last has ended.
 */
#include "unit/probe.h"

#define N 4

typedef struct server_s {
  uvf_service_t *service; /* in services.list, read by the tests */
  uvf_watch_t watch;
  int fails;         /* what start returns */
  int ends_inside;   /* ends in its start, with `status` */
  int status;        /* what it ends with by itself */
  int stop_status;   /* what it ends with when it is told to */
  int stubborn;      /* does not end when told to: the test ends it */
  int starts, stops; /* seen */
} server_t;

static struct {
  uvf_services_t *services; /* heap blocks, freed in the callback */
  uvf_service_t *list;
  server_t servers[N];
  journal_t journal; /* starts: i; stops: 10 + i; the callback: 100 */
  int calls;
  int status;
  int first; /* index, -1: the context */
  int cause;
  int running;           /* services that ran in the callback */
  int statuses[N];       /* of the services, in the callback */
  int inside, misplaced; /* no callback inside run */
} s;

static void end_server(int i, int status) { s.misplaced |= uvf_service_ended(&s.list[i], status) != 0; }

static void on_stop(uvf_watch_t *watch, int status) {
  server_t *server = watch->data;
  (void)status;
  server->stops++;
  journal_add(&s.journal, 10 + (int)(server - s.servers));
  if (!server->stubborn) end_server((int)(server - s.servers), server->stop_status);
}

static int on_start(uvf_service_t *service) {
  server_t *server = service->data;
  int i = (int)(server - s.servers);
  server->starts++;
  s.misplaced |= s.inside || service->running || service->ctx != s.services->ctx;
  journal_add(&s.journal, i);
  if (server->fails) return server->fails;
  if (server->ends_inside) {
    end_server(i, server->status);
    return 0;
  }
  server->watch.data = server;
  return uvf_ctx_on_done(service->ctx, &server->watch, on_stop);
}

static void on_all_ended(uvf_services_t *services, int status) {
  s.calls++;
  s.status = status;
  s.misplaced |= s.inside || services->status != status;
  s.cause = uvf_ctx_cause(services->ctx, NULL);
  s.first = services->first != NULL ? (int)(services->first - s.list) : -1;
  s.running = 0;
  for (int i = 0; i < N && s.list != NULL; i++) {
    s.running += s.list[i].running;
    s.statuses[i] = s.list[i].status;
  }
  journal_add(&s.journal, 100);
  memset(services, 0xdb, sizeof *services);
  free(services);
  free(s.list);
  s.services = NULL;
  s.list = NULL;
}

static void prepare(void) {
  memset(&s, 0, sizeof s);
  s.services = malloc(sizeof *s.services);
  s.list = malloc(N * sizeof *s.list);
  assert_non_null(s.services);
  assert_non_null(s.list);
  memset(s.services, 0xff, sizeof *s.services);
  memset(s.list, 0xff, N * sizeof *s.list);
  for (int i = 0; i < N; i++) {
    s.list[i].data = &s.servers[i];
    s.list[i].name = "server";
    s.list[i].start = on_start;
    s.servers[i].stop_status = 0;
  }
}

static void run_all(uvf_ctx_t *ctx) {
  s.inside = 1;
  assert_int_equal(uvf_services_run(ctx, s.services, s.list, N, on_all_ended), 0);
  s.inside = 0;
}

/* Ends service i by itself, outside of every callback of the library's. */
static void end_by_itself(fixture_t *f, int i, int status) {
  server_t *server = &s.servers[i];
  if (s.list[i].running) assert_int_equal(uvf_watch_stop(&server->watch), UVF_STOP_REMOVED);
  assert_int_equal(s.calls, 0);
  end_server(i, status);
  assert_int_equal(s.calls, 0);
  (void)f;
}

static void all_start_in_order_from_the_loop_and_end_with_the_first(void **state) {
  fixture_t *f = *state;
  static const int statuses[] = {0, -5, UV_ECANCELED};
  for (size_t row = 0; row < ARRAY_SIZE(statuses); row++) {
    prepare();
    run_all(f->root);
    turn(&f->loop);
    assert_journal(&s.journal, 0, 1, 2, 3);
    for (int i = 0; i < N; i++) assert_int_equal(s.list[i].running, 1);
    assert_int_equal(uvf_ctx_err(s.services->ctx), 0);
    end_by_itself(f, 2, statuses[row]);
    assert_int_equal(s.list[2].running, 0);
    assert_int_equal(s.list[2].status, statuses[row]);
    assert_ptr_equal(s.services->first, &s.list[2]);
    assert_over(s.services->ctx, UV_ECANCELED, statuses[row] != 0 ? statuses[row] : UV_ECANCELED);
    run_until(&f->loop, &s.calls, 1);
    turn(&f->loop);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.status, statuses[row]);
    assert_int_equal(s.first, 2);
    assert_int_equal(s.cause, statuses[row] != 0 ? statuses[row] : UV_ECANCELED);
    assert_int_equal(s.running, 0);
    for (int i = 0; i < N; i++) {
      assert_int_equal(s.servers[i].starts, 1);
      assert_int_equal(s.servers[i].stops, i != 2);
      assert_int_equal(s.statuses[i], i == 2 ? statuses[row] : 0);
    }
    assert_int_equal(s.misplaced, 0);
  }
}

static void the_first_status_other_than_0_in_the_order_of_ends_is_kept(void **state) {
  fixture_t *f = *state;
  prepare();
  for (int i = 0; i < N; i++) s.servers[i].stubborn = 1;
  run_all(f->root);
  turn(&f->loop);
  end_by_itself(f, 1, 0);
  turn(&f->loop);
  assert_int_equal(s.calls, 0); /* all others are told to, and have not ended */
  end_server(3, -31);
  end_server(0, -32);
  turn(&f->loop);
  assert_int_equal(s.calls, 0);
  end_server(2, 0);
  assert_int_equal(s.calls, 0);
  turn(&f->loop);
  assert_int_equal(s.calls, 1);
  assert_int_equal(s.status, -31);
  assert_int_equal(s.first, 1);
  assert_int_equal(s.statuses[0], -32);
  assert_int_equal(s.statuses[3], -31);
  assert_int_equal(s.misplaced, 0);
}

static void a_start_that_fails_is_its_end_and_those_after_it_are_not_started(void **state) {
  fixture_t *f = *state;
  for (int who = 0; who < N; who++) {
    for (int inside = 0; inside < 2; inside++) {
      int wanted = inside ? 0 : UV_EADDRINUSE;
      prepare();
      if (inside) {
        s.servers[who].ends_inside = 1; /* the same, but that it ran and ended with 0 */
      } else {
        s.servers[who].fails = UV_EADDRINUSE;
      }
      run_all(f->root);
      run_until(&f->loop, &s.calls, 1);
      assert_int_equal(s.status, wanted);
      assert_int_equal(s.first, who);
      assert_int_equal(s.cause, inside ? UV_ECANCELED : UV_EADDRINUSE);
      for (int i = 0; i < N; i++) {
        assert_int_equal(s.servers[i].starts, i <= who);
        assert_int_equal(s.servers[i].stops, i < who);
        assert_int_equal(s.statuses[i], i < who ? 0 : i == who ? wanted : UV_ECANCELED);
      }
      assert_int_equal(s.misplaced, 0);
    }
  }
}

/* The context given ends: before the run, before the first turn, while they run; by a cancel, a deadline, the close. */
static void the_end_of_the_context_given_ends_all_with_its_err(void **state) {
  fixture_t *f = *state;
  for (int ender = 0; ender < 3; ender++) {
    for (int when = 0; when < 3; when++) {
      uvf_ctx_t *root;
      uvf_ctx_t *ctx;
      int wanted = ender == 1 ? UV_ETIMEDOUT : UV_ECANCELED;
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      ctx = ender == 1 ? timeout_of(root, when == 2 ? 250 : 5) : child_of(root);
      prepare();
      for (int i = 0; i < N; i++) s.servers[i].stop_status = i == 2 ? -9 : 0; /* too late to count */
      for (int step = 0; step <= when; step++) {
        if (step == 1) run_all(ctx);
        if (step == 2) turn(&f->loop);
        if (step < when) continue;
        if (ender == 0) uvf_ctx_cancel_cause(ctx, -4, NULL);
        if (ender == 1) uv_sleep((unsigned int)uvf_ctx_remaining_ms(ctx) + 1);
        if (ender == 2) uvf_ctx_close(root, NULL);
      }
      if (when == 0) run_all(ctx);
      run_until(&f->loop, &s.calls, 1);
      assert_int_equal(s.status, wanted);
      assert_int_equal(s.first, -1);
      assert_int_equal(s.cause, ender == 0 ? -4 : ender == 1 ? UV_ETIMEDOUT : UV_ESHUTDOWN);
      for (int i = 0; i < N; i++) {
        assert_int_equal(s.servers[i].starts, when == 2);
        assert_int_equal(s.statuses[i], when == 2 ? s.servers[i].stop_status : wanted);
      }
      uvf_ctx_release(ctx);
      if (ender != 2) uvf_ctx_close(root, NULL);
      turn(&f->loop);
      assert_int_equal(s.calls, 1);
      assert_int_equal(s.misplaced, 0);
    }
  }
}

/* Stopped on purpose: all are told, all are waited for, and it is no failure unless one of them makes it one. */
static void a_stop_ends_all_and_is_no_failure(void **state) {
  fixture_t *f = *state;
  static const struct {
    int parent_first; /* the context given is over before the stop */
    int stop_status;  /* of server 2 */
    int status;
  } rows[] = {{0, 0, 0}, {0, UV_EIO, UV_EIO}, {1, 0, UV_ECANCELED}};
  for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
    uvf_ctx_t *ctx = child_of(f->root);
    prepare();
    s.servers[2].stop_status = rows[row].stop_status;
    run_all(ctx);
    turn(&f->loop);
    assert_true(s.list[N - 1].running);
    if (rows[row].parent_first) uvf_ctx_cancel(ctx);
    s.inside = 1;
    assert_int_equal(uvf_services_stop(s.services), 0);
    assert_int_equal(uvf_services_stop(s.services), 0); /* nothing more */
    s.inside = 0;
    assert_int_equal(uvf_ctx_err(s.services->ctx), UV_ECANCELED);
    assert_int_equal(s.calls, 0);
    run_until(&f->loop, &s.calls, 1);
    assert_int_equal(s.status, rows[row].status);
    assert_int_equal(s.first, -1);
    assert_int_equal(s.running, 0);
    for (int i = 0; i < N; i++) assert_int_equal(s.servers[i].stops, 1);
    assert_int_equal(s.misplaced, 0);
    uvf_ctx_release(ctx);
  }
  assert_int_equal(uvf_services_stop(NULL), UV_EINVAL);
}

static void a_stop_before_the_first_start_starts_none(void **state) {
  fixture_t *f = *state;
  prepare();
  run_all(f->root);
  assert_int_equal(uvf_services_stop(s.services), 0);
  run_until(&f->loop, &s.calls, 1);
  assert_int_equal(s.status, 0);
  for (int i = 0; i < N; i++) assert_int_equal(s.servers[i].starts, 0);
}

static void none_at_all_end_at_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = child_of(f->root);
  uvf_ctx_cancel(over);
  for (int row = 0; row < 2; row++) {
    prepare();
    free(s.list);
    s.list = NULL;
    s.inside = 1;
    assert_int_equal(uvf_services_run(row ? over : f->root, s.services, NULL, 0, on_all_ended), 0);
    s.inside = 0;
    assert_int_equal(s.calls, 0);
    run_until(&f->loop, &s.calls, 1);
    assert_int_equal(s.status, row ? UV_ECANCELED : 0);
    assert_int_equal(s.first, -1);
    assert_int_equal(s.misplaced, 0);
  }
  uvf_ctx_release(over);
}

static void run_again(uvf_services_t *services, int status) {
  uvf_ctx_t *ctx = services->data;
  s.statuses[s.calls++] = status;
  if (s.calls < 3) s.misplaced |= uvf_services_run(ctx, services, s.list, N, run_again) != 0;
}

static void they_may_be_run_again_in_their_callback(void **state) {
  fixture_t *f = *state;
  prepare();
  s.servers[1].fails = -8;
  s.services->data = f->root;
  assert_int_equal(uvf_services_run(f->root, s.services, s.list, N, run_again), 0);
  run_until(&f->loop, &s.calls, 3);
  for (int i = 0; i < 3; i++) assert_int_equal(s.statuses[i], -8);
  assert_int_equal(s.servers[0].starts, 3);
  assert_int_equal(s.servers[0].stops, 3);
  assert_int_equal(s.misplaced, 0);
  free(s.services);
  free(s.list);
}

static void bad_arguments_are_refused_and_nothing_happens_without_memory(void **state) {
  fixture_t *f = *state;
  int failures = 0;
  int rc;
  prepare();
  assert_int_equal(uvf_services_run(NULL, s.services, s.list, N, on_all_ended), UV_EINVAL);
  assert_int_equal(uvf_services_run(f->root, NULL, s.list, N, on_all_ended), UV_EINVAL);
  assert_int_equal(uvf_services_run(f->root, s.services, NULL, N, on_all_ended), UV_EINVAL);
  assert_int_equal(uvf_services_run(f->root, s.services, s.list, N, NULL), UV_EINVAL);
  s.list[3].start = NULL;
  assert_int_equal(uvf_services_run(f->root, s.services, s.list, N, on_all_ended), UV_EINVAL);
  s.list[3].start = on_start;
  assert_int_equal(uvf_service_ended(NULL, 0), UV_EINVAL);
  for (size_t n = 1;; n++) {
    test_alloc_fail_at(n);
    rc = uvf_services_run(f->root, s.services, s.list, N, on_all_ended);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_int_equal(stats_of(f->root).ops, 0);
    assert_int_equal(stats_of(f->root).contexts, 1);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(rc, 0);
  assert_true(failures > 0);
  turn(&f->loop);
  test_alloc_fail_at(1); /* nothing that ends takes memory */
  end_by_itself(f, 0, 0);
  run_until(&f->loop, &s.calls, 1);
  assert_int_equal(test_alloc_failed(), 0);
  test_alloc_fail_at(0);
  assert_int_equal(s.status, 0);
}

static int misuse_result;
static void ended_again(void *arg) { misuse_result = uvf_service_ended(arg, 0); }

static void expect_misuse(uvf_service_t *service) {
  if (test_rules_on()) {
    const char *rule = test_expect_rule(ended_again, service);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_service_ended: ", 19);
  } else {
    misuse_result = 1;
    ended_again(service);
    assert_int_equal(misuse_result, UV_EINVAL);
  }
}

static void to_say_twice_or_too_early_that_one_has_ended_is_misuse(void **state) {
  fixture_t *f = *state;
  prepare();
  for (int i = 0; i < N; i++) s.servers[i].stubborn = 1;
  run_all(f->root);
  expect_misuse(&s.list[0]); /* not started */
  turn(&f->loop);
  end_by_itself(f, 0, -1);
  expect_misuse(&s.list[0]);
  turn(&f->loop);
  expect_misuse(&s.list[0]);
  for (int i = 1; i < N; i++) end_server(i, 0);
  run_until(&f->loop, &s.calls, 1);
  assert_int_equal(s.status, -1);
  assert_int_equal(s.misplaced, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(all_start_in_order_from_the_loop_and_end_with_the_first),
      unit(the_first_status_other_than_0_in_the_order_of_ends_is_kept),
      unit(a_start_that_fails_is_its_end_and_those_after_it_are_not_started),
      unit(the_end_of_the_context_given_ends_all_with_its_err),
      unit(a_stop_ends_all_and_is_no_failure),
      unit(a_stop_before_the_first_start_starts_none),
      unit(none_at_all_end_at_once),
      unit(they_may_be_run_again_in_their_callback),
      unit(bad_arguments_are_refused_and_nothing_happens_without_memory),
      unit(to_say_twice_or_too_early_that_one_has_ended_is_misuse),
  };
  return test_run(tests);
}
