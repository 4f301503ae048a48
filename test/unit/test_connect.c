/* SPDX-License-Identifier: MIT
 *
 * io.h: connect: one address after the other, each with its share of the time.
 */
#include "unit/net_probe.h"

/* --- several addresses --- */

typedef struct row_s {
  const char *list;
  int status;
  unsigned int attempts;
} row_t;

/* Which of the addresses is being tried; 0: none. */
static char present(const tally_t *t, const char *letters) {
  unsigned int n = conn_of(t)->req.attempts;
  for (; n > 0 && *letters != '\0'; letters++) {
    if (*letters != 'u' && --n == 0) return *letters;
  }
  return 0;
}

/* Time passes only while an address hangs: none of the others can run out of it. */
static void run_list(tally_t *t, const char *letters) {
  uint64_t end_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
  while (t->done < t->starts && uv_hrtime() < end_ns) {
    if (present(t, letters) == 'h') clock_to(io.f->root, frozen_ns + 1000 * MS_NS);
    run_ready(&io.f->loop);
  }
  run_tally(t);
}

static void the_first_address_that_answers_is_it_and_else_the_first_error_is_told(void **state) {
  static const row_t rows[] = {
      {"g", 0, 1},
      {"rg", 0, 2},
      {"gr", 0, 1},
      {"rrrg", 0, 4},
      {"ug", 0, 1},
      {"uurug", 0, 2},
      {"hg", 0, 2},
      {"hrhg", 0, 4},
      {"r", UV_ECONNREFUSED, 1},
      {"rrr", UV_ECONNREFUSED, 3},
      {"h", UV_ETIMEDOUT, 1},
      {"hr", UV_ETIMEDOUT, 2},
      {"rh", UV_ECONNREFUSED, 2},
      {"hh", UV_ETIMEDOUT, 2},
      {"ru", UV_ECONNREFUSED, 1},
      {"u", UV_EADDRNOTAVAIL, 0},
      {"uuu", UV_EADDRNOTAVAIL, 0},
  };
  static const uvf_connect_options_t options = {.attempt_ms = 1000};
  fixture_t *f = *state;
  clock_freeze();
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    const row_t *row = &rows[i / 2];
    tally_t *t = conn_new((int)(i % 2));
    list_t list;
    t->keep = 1;
    conn_start(f->root, t, list_of(&list, row->list), &options);
    assert_int_equal(t->done, 0);
    run_list(t, row->list);
    turn(&f->loop);
    assert_tally(t, row->status);
    assert_int_equal(conn_of(t)->req.attempts, row->attempts);
    assert_ptr_equal(conn_of(t)->tcp.data, t);
    if (row->status == 0) {
      assert_connected(t);
      conn_close(t);
    }
  }
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void what_is_handed_over_sends_and_the_list_may_go_with_done(void **state) {
  fixture_t *f = *state;
  list_t *list = malloc(sizeof *list);
  tally_t *t = conn_new(1);
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "hello", 5);
  int accepted = net.accepted;
  assert_non_null(list);
  t->keep = 1;
  conn_start(f->root, t, list_of(list, "rg"), NULL);
  run_until(&f->loop, &t->done, 1);
  memset(list, 0xdb, sizeof *list);
  free(list);
  run_tally(t);
  assert_connected(t);
  assert_int_equal(uv_try_write((uv_stream_t *)&conn_of(t)->tcp, &buf, 1), 5);
  assert_true(net_await(&net.accepted, accepted + 1));
  conn_close(t);
}

/* --- time --- */

static void an_attempt_has_its_milliseconds_and_not_one_less(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(0);
  uvf_connect_options_t options = {.attempt_ms = 400};
  uint64_t from_ns;
  list_t list;
  t->keep = 1;
  clock_freeze();
  from_ns = frozen_ns;
  conn_start(f->root, t, list_of(&list, "hhg"), &options);
  clock_to(f->root, from_ns + 400 * MS_NS - 1);
  turn(&f->loop);
  assert_int_equal(conn_of(t)->req.attempts, 1);
  clock_to(f->root, from_ns + 400 * MS_NS);
  turn(&f->loop);
  assert_int_equal(conn_of(t)->req.attempts, 2);
  clock_to(f->root, from_ns + 800 * MS_NS - 1);
  turn(&f->loop);
  assert_int_equal(conn_of(t)->req.attempts, 2);
  clock_to(f->root, from_ns + 800 * MS_NS);
  run_tally(t);
  assert_connected(t);
  assert_int_equal(conn_of(t)->req.attempts, 3);
  clock_to(f->root, from_ns + HOUR_NS); /* its time is not counted any more */
  turn(&f->loop);
  assert_false(uv_is_closing(conn_handle(t)));
  conn_close(t);
}

typedef struct share_s {
  const char *list;
  uint64_t deadline_ms;
  uint64_t next_ms[3]; /* when the second attempt begins, the third, ...; 0: never */
} share_t;

static void without_options_each_address_has_a_fair_share_of_what_is_left_and_two_seconds_at_least(void **state) {
  static const share_t rows[] = {
      {"hhh", 30000, {10000, 20000, 0}}, /* the last has all of the rest */
      {"hh", 30000, {15000, 0, 0}},
      {"hhhh", 5000, {2000, 4000, 0}}, /* 2 s each, the third has the one that is left, the fourth none */
      {"hhh", 2000, {0, 0, 0}},        /* not even two of 2 s */
      {"hhh", 2001, {2000, 0, 0}},
      {"h", 60000, {0, 0, 0}},
      {"huh", 30000, {15000, 0, 0}}, /* what is skipped has no share */
      {"hu", 30000, {0, 0, 0}},
  };
  fixture_t *f = *state;
  clock_freeze();
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const share_t *row = &rows[i];
    uint64_t from_ns = frozen_ns;
    uvf_ctx_t *ctx = timeout_of(f->root, row->deadline_ms);
    tally_t *t = conn_new((int)(i % 2));
    unsigned int attempts = 1;
    list_t list;
    t->keep = 1;
    conn_start(ctx, t, list_of(&list, row->list), NULL);
    for (int k = 0; k < 3 && row->next_ms[k] != 0; k++) {
      clock_to(f->root, from_ns + row->next_ms[k] * MS_NS - 1);
      turn(&f->loop);
      assert_int_equal(conn_of(t)->req.attempts, attempts);
      clock_to(f->root, from_ns + row->next_ms[k] * MS_NS);
      turn(&f->loop);
      assert_int_equal(conn_of(t)->req.attempts, ++attempts);
    }
    clock_to(f->root, from_ns + row->deadline_ms * MS_NS - 1);
    turn(&f->loop);
    assert_int_equal(t->done, 0);
    assert_int_equal(conn_of(t)->req.attempts, attempts);
    clock_to(f->root, from_ns + row->deadline_ms * MS_NS);
    run_tally(t);
    assert_tally(t, UV_ETIMEDOUT);
    assert_int_equal(t->err_in_done, UV_ETIMEDOUT);
    assert_int_equal(conn_of(t)->req.attempts, attempts);
    uvf_ctx_release(ctx);
  }
}

static void without_a_deadline_an_attempt_takes_as_long_as_the_system_tries(void **state) {
  static const uint64_t far[] = {0, UINT64_MAX, UINT64_MAX / MS_NS};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
    uvf_connect_options_t options = {.attempt_ms = far[i]};
    tally_t *t = conn_new(0);
    list_t list;
    t->keep = 1;
    conn_start(f->root, t, list_of(&list, "hg"), &options);
    an_hour_passes(f->root);
    turn(&f->loop);
    assert_int_equal(conn_of(t)->req.attempts, 1);
    assert_int_equal(t->done, 0);
    assert_int_equal(uvf_op_cancel(t->req), 0);
    run_tally(t);
    assert_tally(t, UV_ECANCELED);
  }
}

static void the_deadline_of_the_context_cuts_an_attempt_short(void **state) {
  fixture_t *f = *state;
  uvf_connect_options_t options = {.attempt_ms = HOUR_MS};
  uvf_ctx_t *ctx = timeout_of(f->root, 10);
  tally_t *t = conn_new(0);
  list_t list;
  t->keep = 1;
  conn_start(ctx, t, list_of(&list, "hg"), &options);
  run_tally(t);
  assert_tally(t, UV_ETIMEDOUT);
  assert_true(t->done_ns >= uvf_ctx_deadline_ns(ctx));
  assert_int_equal(conn_of(t)->req.attempts, 1);
  uvf_ctx_release(ctx);
}

static void by_the_real_clock_an_attempt_is_never_cut_early(void **state) {
  fixture_t *f = *state;
  uvf_connect_options_t options = {.attempt_ms = 8};
  tally_t *t = conn_new(1);
  uint64_t before_ns = uv_hrtime();
  list_t list;
  t->keep = 1;
  conn_start(f->root, t, list_of(&list, "hh"), &options);
  run_tally(t);
  assert_tally(t, UV_ETIMEDOUT);
  assert_int_equal(conn_of(t)->req.attempts, 2);
  assert_true(t->done_ns >= before_ns + 16 * MS_NS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_net(the_first_address_that_answers_is_it_and_else_the_first_error_is_told),
      unit_net(what_is_handed_over_sends_and_the_list_may_go_with_done),
      unit_net(an_attempt_has_its_milliseconds_and_not_one_less),
      unit_net(without_options_each_address_has_a_fair_share_of_what_is_left_and_two_seconds_at_least),
      unit_net(without_a_deadline_an_attempt_takes_as_long_as_the_system_tries),
      unit_net(the_deadline_of_the_context_cuts_an_attempt_short),
      unit_net(by_the_real_clock_an_attempt_is_never_cut_early),
  };
  int failed;
  io_main();
  net_open();
  failed = test_run(tests);
  net_close();
  return failed;
}
