/* SPDX-License-Identifier: MIT
 *
 * io.h: connect: what refuses to start, what its callbacks may do, and two loops.
 */
#include "unit/net_probe.h"

#ifndef _WIN32
#include <sys/resource.h>
#endif

/* --- starts --- */

static void bad_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(0);
  conn_t *c = conn_of(t);
  list_t list;
  size_t fds = test_fd_count();
  list_of(&list, "g");
  assert_int_equal(uvf_tcp_connect(NULL, &c->req, &c->tcp, list.info, NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_connect(f->root, NULL, &c->tcp, list.info, NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_connect(f->root, &c->req, NULL, list.info, NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_connect(f->root, &c->req, &c->tcp, NULL, NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_false(uv_loop_alive(&f->loop));
  assert_int_equal(test_fd_count(), fds);
  t->keep = 1;
  conn_start(f->root, t, list.info, NULL); /* the request is usable */
  run_tally(t);
  assert_connected(t);
  conn_close(t);
}

static void without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1);
  size_t fds = test_fd_count(), blocks = test_alloc_live();
  size_t n = 0;
  list_t list;
  int err;
  list_of(&list, "g");
  t->keep = 1;
  do {
    test_alloc_fail_at(++n);
    err = io_call(conn_connect(f->root, t, list.info, NULL));
    if (err == 0) break;
    assert_int_equal(err, UV_ENOMEM);
    assert_int_equal(test_fd_count(), fds);
    assert_int_equal(test_alloc_live(), blocks);
    assert_int_equal(stats_of(f->root).ops, 0);
    turn(&f->loop);
    assert_int_equal(t->done, 0);
  } while (n < 10);
  test_alloc_fail_at(0);
  assert_true(n > 1 && n < 10);
  t->starts = 1;
  run_tally(t);
  assert_connected(t);
  conn_close(t);
}

#ifndef _WIN32
static void without_descriptors_every_attempt_fails_and_that_is_told(void **state) {
  fixture_t *f = *state;
  struct rlimit old, none;
  tally_t *t = conn_new(1);
  list_t list;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  none = old;
  none.rlim_cur = 3; /* more are open already: no further one */
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  t->keep = 1;
  conn_start(f->root, t, list_of(&list, "gg"), NULL);
  run_tally(t);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_tally(t, UV_EMFILE);
  assert_int_equal(conn_of(t)->req.attempts, 2);
}
#endif

static void under_a_context_that_is_over_no_address_is_tried(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over[2] = {child_of(f->root), timeout_of(f->root, 0)};
  uv_tcp_t untouched;
  uvf_ctx_cancel(over[0]);
  for (int i = 0; i < 4; i++) {
    tally_t *t = conn_new(i % 2);
    size_t fds = test_fd_count();
    list_t list;
    t->keep = 1;
    memcpy(&untouched, &conn_of(t)->tcp, sizeof untouched);
    conn_start(over[i / 2], t, list_of(&list, "g"), NULL);
    assert_int_equal(t->done, 0);
    assert_int_equal(test_fd_count(), fds);
    run_tally(t);
    assert_tally(t, i < 2 ? UV_ECANCELED : UV_ETIMEDOUT);
    assert_int_equal(conn_of(t)->req.attempts, 0);
    assert_memory_equal(&conn_of(t)->tcp, &untouched, sizeof untouched);
  }
  uvf_ctx_release(over[0]);
  uvf_ctx_release(over[1]);
}

static void start_again(void *arg) {
  tally_t *t = arg;
  list_t list;
  (void)conn_connect(io.f->root, t, list_of(&list, "g"), NULL);
}

static void starting_one_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(0);
  list_t list;
  t->keep = 1;
  conn_start(f->root, t, list_of(&list, "g"), NULL);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, t);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_tcp_connect: ", strlen("uvf_tcp_connect: "));
  }
  run_tally(t);
  assert_connected(t);
  conn_close(t);
}

/* --- callbacks --- */

static void count_release(uvf_connect_t *req) { ++*(int *)req->data; }
static void count_done(uvf_connect_t *req, int status) { *(int *)req->data += status == UV_ECONNREFUSED ? 10 : 1000; }

static void either_callback_may_be_null(void **state) {
  static const struct {
    uvf_connect_cb done;
    uvf_connect_release_cb release;
    int calls;
  } rows[] = {{count_done, NULL, 10}, {NULL, count_release, 1}, {count_done, count_release, 11}, {NULL, NULL, 0}};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    conn_t c;
    int calls = 0;
    list_t list;
    c.req.data = &calls;
    assert_int_equal(uvf_tcp_connect(f->root, &c.req, &c.tcp, list_of(&list, i % 2 ? "r" : "rr"), NULL,
                                     rows[i / 2].done, rows[i / 2].release),
                     0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0); /* it holds the loop until it is over */
    assert_int_equal(calls, rows[i / 2].calls);
    assert_int_equal(stats_of(f->root).ops, 0);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&c.req), UV_EBUSY);
  }
}

static void connect_once_more(tally_t *t) {
  static list_t list;
  if (t->starts < 3) conn_start(io.f->root, t, list_of(&list, t->starts == 1 ? "rr" : "rg"), NULL);
}

static void the_last_callback_may_start_the_same_request_again(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    tally_t *t = conn_new(release);
    list_t list;
    t->keep = 1;
    if (release) {
      t->in_release = connect_once_more;
    } else {
      t->in_done = connect_once_more;
    }
    conn_start(f->root, t, list_of(&list, "r"), NULL);
    run_until(&f->loop, release ? &t->released : &t->done, 3);
    assert_connected(t);
    assert_int_equal(t->done, 3);
    conn_close(t);
  }
}

static void close_in_callback(tally_t *t) {
  uvf_ctx_t *ctx = op_of_tally(t)->ctx;
  io_expect(uvf_op_cancel(t->req) == UV_EBUSY, "a connect was cancelled in its callback");
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  uv_close(conn_handle(t), NULL);
}

static void done_may_close_the_handle_and_end_the_context(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = child_of(f->root);
    tally_t *t = conn_new(release);
    list_t list;
    t->keep = 1;
    t->in_done = close_in_callback;
    conn_start(ctx, t, list_of(&list, "g"), NULL);
    run_tally(t);
    turn(&f->loop);
    assert_tally(t, 0);
    assert_int_equal(stats_of(f->root).contexts, 1);
  }
}

static char dumped[2000];

static void dump_root(tally_t *t) {
  FILE *out = tmpfile();
  (void)t;
  if (out == NULL) abort();
  memset(dumped, 0, sizeof dumped);
  io_expect(uvf_ctx_dump(io.f->root, out) == 0, "the dump failed");
  rewind(out);
  io_expect(fread(dumped, 1, sizeof dumped - 1, out) > 0, "the dump is empty");
  fclose(out);
}

static void the_dump_names_it_also_when_it_only_waits_for_its_release(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1);
  list_t list;
  t->in_done = dump_root;
  conn_start(f->root, t, list_of(&list, "h"), NULL);
  dump_root(t);
  assert_non_null(strstr(dumped, "[connect]  pending"));
  assert_int_equal(uvf_op_cancel(t->req), 0);
  run_tally(t);
  assert_non_null(strstr(dumped, "[connect]  told, waits for its release"));
}

/* --- two loops --- */

typedef struct far_s {
  conn_t c;
  lane_t *lane;
  list_t list;
  int status;
  gate_t over;
} far_t;

static void on_far(uvf_connect_t *req, int status) {
  far_t *far = (far_t *)(void *)req;
  far->status = status;
  if (status == 0) uv_close((uv_handle_t *)&far->c.tcp, NULL);
  gate_open(&far->over, 1);
}

static void far_start(void *arg) {
  far_t *far = arg;
  if (uvf_tcp_connect(far->lane->root, &far->c.req, &far->c.tcp, far->list.info, NULL, on_far, NULL) != 0) abort();
}

static void two_loops_connect_each_their_own(void **state) {
  fixture_t *f = *state;
  lane_t lane;
  static far_t far;
  tally_t *t = conn_new(0);
  list_t list;
  far.lane = &lane;
  far.status = NOT_YET;
  t->keep = 1;
  gate_init(&far.over);
  lane_start(&lane);
  list_of(&far.list, "rrg");
  lane_call(&lane, far_start, &far);
  conn_start(f->root, t, list_of(&list, "rg"), NULL);
  assert_true(gate_passed(&far.over));
  run_tally(t);
  assert_connected(t);
  conn_close(t);
  lane_stop(&lane);
  gate_destroy(&far.over);
  assert_int_equal(far.status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_net(bad_arguments_are_refused_and_nothing_happens),
      unit_net(without_memory_nothing_happens),
#ifndef _WIN32
      unit_net(without_descriptors_every_attempt_fails_and_that_is_told),
#endif
      unit_net(under_a_context_that_is_over_no_address_is_tried),
      unit_net(starting_one_twice_is_misuse),
      unit_net(either_callback_may_be_null),
      unit_net(the_last_callback_may_start_the_same_request_again),
      unit_net(done_may_close_the_handle_and_end_the_context),
      unit_net(the_dump_names_it_also_when_it_only_waits_for_its_release),
      unit_net(two_loops_connect_each_their_own),
  };
  int failed;
  io_main();
  net_open();
  failed = test_run(tests);
  net_close();
  return failed;
}
