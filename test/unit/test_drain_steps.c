/* SPDX-License-Identifier: MIT
 *
 * serve.h: the steps of a drain: their order, what the library had done as each began, and when each ends.
 */
#include "unit/drain_probe.h"

/* --- what on_step sees --- */

typedef struct seen_s {
  int idle, busy, visits; /* errs, and how many are over, as the step began */
  int refused;            /* what a request got that began in it */
} seen_t;

static seen_t seen[STEPS];

static void look_around(server_t *server, int step) {
  scene_t *scene = server->arg;
  uvf_drain_request_t request;
  memset(&seen[step], 0, sizeof seen[step]);
  seen[step].idle = uvf_ctx_err(scene->idle.ctx);
  seen[step].busy = uvf_ctx_err(scene->busy.ctx);
  for (int i = 0; i < 3; i++) seen[step].visits += uvf_ctx_err(scene->visits[i].ctx) != 0;
  seen[step].refused = uvf_drain_request_begin(&server->drain, &request, NULL, NULL);
  if (seen[step].refused == 0) assert_int_equal(uvf_drain_request_end(&request), 0);
}

static void each_step_begins_when_the_one_before_is_at_its_limit_with_its_work_done(void **state) {
  static const struct {
    int step, refused, idle, busy, visits; /* visits: how many are cancelled */
    uint64_t cancelled, closed, forced;
  } rows[] = {
      {UVF_DRAIN_NOT_READY, 0, 0, 0, 0, 0, 0, 0},
      {UVF_DRAIN_LAME_DUCK, 0, 0, 0, 0, 0, 0, 0},
      {UVF_DRAIN_STOP_ACCEPTING, UV_ESHUTDOWN, 0, 0, 0, 0, 0, 0},
      {UVF_DRAIN_CLOSE_IDLE, UV_ESHUTDOWN, UV_ECANCELED, 0, 0, 0, 1, 0},
      {UVF_DRAIN_WAIT, UV_ESHUTDOWN, UV_ECANCELED, 0, 0, 0, 1, 0},
      {UVF_DRAIN_CANCEL, UV_ESHUTDOWN, UV_ECANCELED, 0, 3, 3, 1, 0},
      {UVF_DRAIN_FORCE_CLOSE, UV_ESHUTDOWN, UV_ECANCELED, UV_ECANCELED, 3, 3, 1, 1},
      {UVF_DRAIN_JOIN, UV_ESHUTDOWN, UV_ECANCELED, UV_ECANCELED, 3, 3, 1, 1},
      {UVF_DRAIN_OVER, UV_ESHUTDOWN, UV_ECANCELED, UV_ECANCELED, 3, 3, 1, 1},
  };
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  scene.server.then = look_around;
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++)
    server_options(&scene.server)->limit_ms[s] = 100 * (uint64_t)s; /* all different */
  server_start(&scene.server, f->root);
  assert_int_equal(scene.server.n, 0);
  assert_int_equal(uvf_drain_is_ready(&scene.server.drain), 0); /* health checks fail from the start on */
  pass_ns(f, 0);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const note_t *note = &scene.server.notes[i];
    assert_told(&scene.server, rows[i].step);
    assert_int_equal(note->ready, 0);
    assert_int_equal(note->requests, 3);
    assert_int_equal(note->connections, 3);
    assert_int_equal(note->cancelled, rows[i].cancelled);
    assert_int_equal(note->closed, rows[i].closed);
    assert_int_equal(note->forced, rows[i].forced);
    assert_int_equal(seen[rows[i].step].refused, rows[i].refused);
    assert_int_equal(seen[rows[i].step].idle, rows[i].idle);
    assert_int_equal(seen[rows[i].step].busy, rows[i].busy);
    assert_int_equal(seen[rows[i].step].visits, rows[i].visits);
    if (rows[i].step == UVF_DRAIN_OVER) break;
    pass_ns(f, (uint64_t)rows[i].step * 100 * MS_NS - 1); /* never early */
    assert_int_equal(scene.server.n, rows[i].step);
    pass_ns(f, 1);
  }
  assert_over_once(&scene.server, UV_ETIMEDOUT);
  assert_int_equal(scene.server.drain.requests, 3); /* what did not even end then */
  assert_int_equal(scene.server.drain.connections, 3);
  assert_int_equal(scene.server.drain.refused, 7);
  scene_drop(&scene);
}

static void no_step_is_early_by_the_clock_of_the_system(void **state) {
  static const uint64_t limits[STEPS] = {0, 3, 1, 5, 2, 7, 1, 4, 10, 0};
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  uint64_t before, sum_ns = 0;
  server_init(&server, f, 0);
  memcpy(server_options(&server)->limit_ms, limits, sizeof server_options(&server)->limit_ms);
  visit_begin(&visit, &server, NULL);
  before = uv_hrtime();
  server_start(&server, f->root);
  run_until(&f->loop, &server.calls, 1);
  assert_told(&server, UVF_DRAIN_OVER);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) {
    sum_ns += limits[s] * MS_NS;
    assert_true(server.notes[s].began_ns - before >= sum_ns);
    assert_true(server.notes[s].began_ns - server.notes[s - 1].left_ns <= limits[s] * MS_NS + GENEROUS_NS);
  }
  assert_int_equal(server.status, UV_ETIMEDOUT);
  visit_end(&visit);
  visit_drop(&visit);
}

/* --- limits --- */

static void limits_of_zero_pass_at_once_whatever_is_open(void **state) {
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) server_options(&scene.server)->limit_ms[s] = 0;
  server_start(&scene.server, f->root);
  pass_ns(f, 0);
  assert_told(&scene.server, UVF_DRAIN_OVER);
  assert_over_once(&scene.server, UV_ETIMEDOUT);
  assert_int_equal(scene.server.drain.requests, 3);
  scene_drop(&scene);
}

static void without_a_limit_a_step_lasts_until_nothing_is_open_or_somebody_is_in_a_hurry(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    visit_t visit;
    server_init(&server, f, 0);
    server_options(&server)->limit_ms[step] = UVF_NO_LIMIT;
    visit_begin(&visit, &server, NULL);
    server_start(&server, f->root);
    for (int year = 0; year < 5; year++) pass(f, 365 * 24 * HOUR_MS);
    assert_told(&server, step);
    visit_end(&visit);
    if (!waits(step)) {
      pass(f, HOUR_MS);
      assert_told(&server, step); /* emptiness does not end it */
      assert_int_equal(uvf_drain_next(&server.drain), 0);
    }
    assert_told(&server, UVF_DRAIN_OVER);
    assert_int_equal(server.calls, 0); /* the callback comes from the loop */
    assert_over_once(&server, step >= UVF_DRAIN_CANCEL ? UV_ETIMEDOUT : 0);
    visit_drop(&visit);
  }
}

static void a_limit_too_far_to_be_counted_in_nanoseconds_is_none(void **state) {
  static const uint64_t rows[] = {UVF_NO_LIMIT, UVF_NO_LIMIT - 1, UINT64_MAX / MS_NS, UINT64_MAX / MS_NS + 1,
                                  UINT64_MAX / 2};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    server_t server;
    server_init(&server, f, 0);
    server_options(&server)->limit_ms[UVF_DRAIN_LAME_DUCK] = rows[i];
    server_start(&server, f->root);
    for (int hours = 0; hours < 3; hours++) pass(f, HOUR_MS);
    assert_told(&server, UVF_DRAIN_LAME_DUCK);
    assert_int_equal(uvf_drain_next(&server.drain), 0);
    assert_over_once(&server, 0);
  }
}

static void with_nothing_open_every_step_is_told_and_those_that_wait_do_not(void **state) {
  fixture_t *f = *state;
  server_t server;
  server_init(&server, f, HOUR_MS);
  server_start(&server, f->root);
  pass_ns(f, 0);
  for (int s = FIRST_STEP; s < UVF_DRAIN_CLOSE_IDLE; s++) { /* the first three last as long as they are told */
    assert_told(&server, s);
    pass_ns(f, HOUR_NS - 1);
    assert_told(&server, s);
    pass_ns(f, 1);
  }
  assert_told(&server, UVF_DRAIN_OVER);
  assert_int_equal(server.calls, 1);
  assert_over_once(&server, 0);
}

/* A late on_step does not shorten the next step, and its own limit goes on meanwhile. */
static void be_slow(server_t *server, int step) {
  (void)server;
  if (step == UVF_DRAIN_LAME_DUCK) still_ns += 3 * HOUR_NS;
}

static void an_on_step_that_takes_longer_than_the_limit_does_not_shorten_the_next(void **state) {
  fixture_t *f = *state;
  server_t server;
  server_init(&server, f, HOUR_MS);
  server.then = be_slow;
  server_reach_under(&server, f->root, UVF_DRAIN_LAME_DUCK);
  pass_ns(f, 0);
  assert_told(&server, UVF_DRAIN_STOP_ACCEPTING);
  pass_ns(f, HOUR_NS - 1);
  assert_told(&server, UVF_DRAIN_STOP_ACCEPTING);
  assert_over_once(&server, 0);
}

/* --- in a hurry --- */

static void next_ends_the_step_it_is_called_in(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    visit_t visit;
    server_init(&server, f, HOUR_MS);
    visit_begin(&visit, &server, NULL);
    server_reach(&server, step);
    pass(f, HOUR_MS / 2);
    assert_int_equal(uvf_drain_next(&server.drain), 0);
    assert_told(&server, step + 1);
    if (step < UVF_DRAIN_JOIN) {
      pass_ns(f, HOUR_NS - 1); /* the next one has its whole time */
      assert_told(&server, step + 1);
      pass_ns(f, 1);
      assert_told(&server, step + 2);
    }
    assert_over_once(&server, UV_ETIMEDOUT);
    visit_end(&visit);
    visit_drop(&visit);
  }
}

static void next_before_the_first_on_step_tells_of_the_first_step_and_ends_it(void **state) {
  fixture_t *f = *state;
  server_t server;
  server_init(&server, f, HOUR_MS);
  server_start(&server, f->root);
  assert_int_equal(uvf_drain_next(&server.drain), 0);
  assert_told(&server, UVF_DRAIN_LAME_DUCK);
  assert_int_equal(uvf_drain_next(&server.drain), 0);
  assert_told(&server, UVF_DRAIN_STOP_ACCEPTING);
  pass_ns(f, HOUR_NS - 1);
  assert_told(&server, UVF_DRAIN_STOP_ACCEPTING);
  assert_over_once(&server, 0);
  assert_told(&server, UVF_DRAIN_OVER);
}

/* All of them while the start's caller has not returned to the loop. */
static void next_called_often_enough_ends_the_drain_without_the_loop(void **state) {
  fixture_t *f = *state;
  server_t server;
  scene_t scene;
  scene_init(&scene, f);
  server_start(&scene.server, f->root);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) assert_int_equal(uvf_drain_next(&scene.server.drain), 0);
  assert_told(&scene.server, UVF_DRAIN_OVER);
  assert_int_equal(uvf_drain_next(&scene.server.drain), UV_EINVAL);
  assert_int_equal(scene.server.calls, 0);
  assert_over_once(&scene.server, UV_ETIMEDOUT);
  scene_drop(&scene);
  server_init(&server, f, HOUR_MS); /* and with nothing open it takes four */
  server_start(&server, f->root);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_drain_next(&server.drain), 0);
  assert_told(&server, UVF_DRAIN_OVER);
  assert_over_once(&server, 0);
}

static void hurry_here(server_t *server, int step) {
  at_t *at = server->arg;
  if (at->step != step && at->step != 0) return;
  assert_int_equal(uvf_drain_next(&server->drain), step == UVF_DRAIN_OVER ? UV_EINVAL : 0);
  at->done++;
  if (step == UVF_DRAIN_OVER) return;
  assert_int_equal(uvf_drain_next(&server->drain), 0); /* twice is once: it is this step that ends */
  assert_int_equal(server->drain.step, step);
  assert_int_equal(server->n, step);
}

static void next_inside_on_step_ends_that_step_when_it_has_returned(void **state) {
  fixture_t *f = *state;
  for (int step = 0; step < UVF_DRAIN_OVER; step++) { /* 0: in all of them */
    server_t server;
    visit_t visit;
    at_t at = {.step = step};
    server_init(&server, f, HOUR_MS);
    server.then = hurry_here;
    server.arg = &at;
    visit_begin(&visit, &server, NULL);
    server_start(&server, f->root);
    pass_ns(f, 0);
    for (int s = FIRST_STEP; s < step; s++) pass(f, HOUR_MS);
    assert_told(&server, step == 0 ? UVF_DRAIN_OVER : step + 1);
    assert_int_equal(at.done, step == 0 ? UVF_DRAIN_OVER : 1);
    assert_over_once(&server, UV_ETIMEDOUT);
    visit_end(&visit);
    visit_drop(&visit);
  }
}

/* --- company --- */

static void on_woken(uvf_sleep_t *sleep, int status) {
  (void)status;
  ++*(int *)sleep->data;
}

typedef struct nest_s {
  int step, woken;
  uvf_sleep_t sleeps[2];
} nest_t;

/* One is due by the time the loop runs again, as the step's limit is; the other one later. */
static void fall_asleep(server_t *server) {
  nest_t *nest = server->arg;
  for (int i = 0; i < 2; i++) {
    nest->sleeps[i].data = &nest->woken;
    assert_int_equal(uvf_sleep_start(server->f->root, &nest->sleeps[i], i == 0 ? 3 : 9, on_woken), 0);
  }
  spin_ns(6 * MS_NS);
}

static void run_the_loop(server_t *server, int step) {
  nest_t *nest = server->arg;
  if (step == nest->step - 1) fall_asleep(server);
  if (step != nest->step) return;
  run_until(&server->f->loop, &nest->woken, 2);
  assert_told(server, step);
}

static void on_step_may_run_the_loop(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step <= UVF_DRAIN_OVER; step++) {
    server_t server;
    visit_t visit;
    nest_t nest = {.step = step};
    server_init(&server, f, 2);
    server.then = run_the_loop;
    server.arg = &nest;
    visit_begin(&visit, &server, NULL);
    server_start(&server, f->root);
    if (step == FIRST_STEP) fall_asleep(&server);
    run_until(&f->loop, &server.calls, 1);
    assert_told(&server, UVF_DRAIN_OVER);
    assert_int_equal(nest.woken, 2);
    assert_int_equal(server.status, UV_ETIMEDOUT);
    visit_end(&visit);
    visit_drop(&visit);
  }
}

static void let_it_pass(server_t *server, int step) {
  at_t *at = server->arg;
  if (step != at->step) return;
  pass(server->f, 2 * HOUR_MS); /* the limit comes while on_step runs the loop: seen when it returns */
  assert_told(server, step);
}

static void a_limit_that_comes_while_on_step_runs_the_loop_counts_afterwards(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    visit_t visit;
    at_t at = {.step = step};
    server_init(&server, f, HOUR_MS);
    server.then = let_it_pass;
    server.arg = &at;
    visit_begin(&visit, &server, NULL);
    server_start(&server, f->root);
    pass_ns(f, 0);
    for (int s = FIRST_STEP; s < step; s++) pass(f, HOUR_MS);
    assert_told(&server, step + 1);
    assert_over_once(&server, UV_ETIMEDOUT);
    visit_end(&visit);
    visit_drop(&visit);
  }
}

static void start_other(server_t *server, int step) {
  server_t *other = server->arg;
  if (step == UVF_DRAIN_STOP_ACCEPTING) server_start(other, server->f->root);
}

static void several_drains_of_a_loop_go_on_by_themselves(void **state) {
  fixture_t *f = *state;
  server_t first, second;
  visit_t visits[2];
  server_init(&first, f, HOUR_MS);
  server_init(&second, f, 2 * HOUR_MS);
  first.then = start_other;
  first.arg = &second;
  server_options(&second)->limit_ms[UVF_DRAIN_WAIT] = UVF_NO_LIMIT;
  visit_begin(&visits[0], &first, NULL);
  visit_begin(&visits[1], &second, NULL);
  server_reach(&first, UVF_DRAIN_CLOSE_IDLE);
  assert_told(&second, UVF_DRAIN_NOT_READY);
  visit_end(&visits[0]);
  assert_over_once(&first, 0);
  assert_int_equal(second.calls, 0);
  visit_end(&visits[1]);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) pass(f, 2 * HOUR_MS);
  assert_told(&second, UVF_DRAIN_OVER);
  assert_over_once(&second, 0);
  for (int i = 0; i < 2; i++) visit_drop(&visits[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(each_step_begins_when_the_one_before_is_at_its_limit_with_its_work_done),
      unit(no_step_is_early_by_the_clock_of_the_system),
      unit_still(limits_of_zero_pass_at_once_whatever_is_open),
      unit_still(without_a_limit_a_step_lasts_until_nothing_is_open_or_somebody_is_in_a_hurry),
      unit_still(a_limit_too_far_to_be_counted_in_nanoseconds_is_none),
      unit_still(with_nothing_open_every_step_is_told_and_those_that_wait_do_not),
      unit_still(an_on_step_that_takes_longer_than_the_limit_does_not_shorten_the_next),
      unit_still(next_ends_the_step_it_is_called_in),
      unit_still(next_before_the_first_on_step_tells_of_the_first_step_and_ends_it),
      unit_still(next_called_often_enough_ends_the_drain_without_the_loop),
      unit_still(next_inside_on_step_ends_that_step_when_it_has_returned),
      unit(on_step_may_run_the_loop),
      unit_still(a_limit_that_comes_while_on_step_runs_the_loop_counts_afterwards),
      unit_still(several_drains_of_a_loop_go_on_by_themselves),
  };
  return test_run(tests);
}
