/* SPDX-License-Identifier: MIT
 *
 * io.h: getaddrinfo: every way to end it in every state, the lists that come too late, and what starts it. Only names
 * that need no network: numbers, services, the local host.
 */
#include "unit/resolver.h"

static uvf_getaddrinfo_t *req_of(const tally_t *t) { return t->req; }

static void on_done(uvf_getaddrinfo_t *req, int status) { tally_done(req->data, status); }
static void on_release(uvf_getaddrinfo_t *req) { tally_release(req->data); }

static struct addrinfo *list_in_done;

/* Takes the list, and frees it. */
static void take(tally_t *t) {
  list_in_done = req_of(t)->addrinfo;
  io_expect((t->status == 0) == (list_in_done != NULL), "a list without success, or success without a list");
  uv_freeaddrinfo(req_of(t)->addrinfo);
}

static tally_t *gai_new(int release) {
  tally_t *t = tally_new(sizeof(uvf_getaddrinfo_t));
  t->has_release = release;
  t->in_done = take;
  return t;
}

static const struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};

static void gai_start(uvf_ctx_t *ctx, tally_t *t, const char *node, const char *service) {
  tally_start(
      t, uvf_getaddrinfo_start(ctx, req_of(t), node, service, &numeric, on_done, t->has_release ? on_release : NULL));
}

static int gai_setup(void **state) { return io_setup(state); }

static int gai_teardown(void **state) {
  int status = io_teardown(state);
  assert_int_equal(resolver_left(), 0); /* every list that the system gave was freed, once */
  return status;
}

#define unit_gai(f) cmocka_unit_test_setup_teardown(f, gai_setup, gai_teardown)

/* --- what it gives --- */

static char seen[64];
static int seen_port, seen_family;

static void look(tally_t *t) {
  const struct addrinfo *info = req_of(t)->addrinfo;
  memset(seen, 0, sizeof seen);
  seen_port = seen_family = 0;
  if (info != NULL) {
    seen_family = info->ai_family;
    if (info->ai_family == AF_INET) {
      const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->ai_addr;
      seen_port = ntohs(in->sin_port);
      io_expect(uv_ip4_name(in, seen, sizeof seen) == 0, "not an address");
    } else {
      const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)info->ai_addr;
      seen_port = ntohs(in->sin6_port);
      io_expect(uv_ip6_name(in, seen, sizeof seen) == 0, "not an address");
    }
  }
  take(t);
}

static void it_gives_the_addresses_and_copies_what_it_was_given(void **state) {
  static const struct {
    const char *node, *service, *address;
    int port, family;
  } rows[] = {{"127.0.0.1", "80", "127.0.0.1", 80, AF_INET},
              {"127.0.0.9", NULL, "127.0.0.9", 0, AF_INET},
              {"::1", "65535", "::1", 65535, AF_INET6},
              {"10.1.2.3", "1", "10.1.2.3", 1, AF_INET}};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    tally_t *t = gai_new((int)(i % 2));
    char node[32], service[16];
    struct addrinfo hints = numeric;
    crowd_t crowd;
    t->in_done = look;
    snprintf(node, sizeof node, "%s", rows[i / 2].node);
    snprintf(service, sizeof service, "%s", rows[i / 2].service != NULL ? rows[i / 2].service : "");
    crowd_open(&crowd, IO_POOL);
    tally_start(t, uvf_getaddrinfo_start(f->root, req_of(t), node, rows[i / 2].service != NULL ? service : NULL, &hints,
                                         on_done, t->has_release ? on_release : NULL));
    memset(node, 'x', sizeof node - 1); /* before the pool has looked at them */
    memset(service, 'x', sizeof service - 1);
    memset(&hints, 0xff, sizeof hints);
    crowd_close(&crowd);
    run_tally(t);
    assert_tally(t, 0);
    assert_string_equal(seen, rows[i / 2].address);
    assert_int_equal(seen_port, rows[i / 2].port);
    assert_int_equal(seen_family, rows[i / 2].family);
  }
}

static void a_service_alone_gives_the_local_host_and_the_local_host_has_a_name(void **state) {
  fixture_t *f = *state;
  for (int named = 0; named < 2; named++) {
    tally_t *t = gai_new(0);
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    t->in_done = look;
    tally_start(t, uvf_getaddrinfo_start(f->root, req_of(t), named ? "localhost" : NULL, "7", &hints, on_done, NULL));
    run_tally(t);
    assert_tally(t, 0);
    assert_string_equal(seen, "127.0.0.1");
    assert_int_equal(seen_port, 7);
  }
}

static void what_does_not_resolve_says_why(void **state) {
  static const struct addrinfo nobody = {.ai_family = 200, .ai_flags = AI_NUMERICHOST};
  static const struct {
    const char *node, *service;
    const struct addrinfo *hints;
    int status, or ;
  } rows[] = {{"not a number", "80", &numeric, UV_EAI_NONAME, UV_EAI_NONAME},
              {NULL, "no-such-service-anywhere", &numeric, UV_EAI_SERVICE, UV_EAI_NONAME},
              {"127.0.0.1", "80", &nobody, UV_EAI_FAMILY, UV_EAI_FAMILY}};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    tally_t *t = gai_new((int)(i % 2));
    tally_start(t, uvf_getaddrinfo_start(f->root, req_of(t), rows[i / 2].node, rows[i / 2].service, rows[i / 2].hints,
                                         on_done, t->has_release ? on_release : NULL));
    run_tally(t);
    assert_true(t->status == rows[i / 2].status || t->status == rows[i / 2].or);
    assert_tally(t, t->status);
    assert_null(list_in_done);
  }
}

/* --- how it ends --- */

static void run_open(run_t *run, way_t way, int release) {
  memset(run, 0, sizeof *run);
  scene_open(&run->scene, way);
  run->calls = resolver_called();
  run->t = gai_new(release);
  gai_start(run->scene.ctx, run->t, "127.0.0.1", "80");
}

static void ended_while_it_is_queued_it_is_never_resolved(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    crowd_t crowd;
    run_t run;
    crowd_open(&crowd, IO_POOL);
    run_open(&run, (way_t)(i / 2), i % 2);
    turn(&io.f->loop);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    run_close(&run, run.scene.err); /* though every thread is parked */
    crowd_close(&crowd);
    turn(&io.f->loop);
    assert_int_equal(resolver_called(), run.calls);
  }
}

static int done_at_moment, released_at_moment;

static void on_prepare_seen(uv_check_t *check) {
  const tally_t *t = check->data;
  done_at_moment += t->done;
  released_at_moment += t->released;
}

static void ended_when_it_is_resolved_and_its_loop_has_not_heard_the_list_is_thrown_away(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    crowd_t crowd;
    uv_check_t check;
    run_t run;
    done_at_moment = released_at_moment = 0;
    crowd_open(&crowd, IO_POOL - 1);
    run_open(&run, (way_t)(i / 2), i % 2);
    crowd_overtaken(&crowd);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.t->done, 0);
    assert_int_equal(uv_check_init(&io.f->loop, &check), 0);
    check.data = run.t;
    assert_int_equal(uv_check_start(&check, on_prepare_seen), 0);
    uv_run(&io.f->loop, UV_RUN_NOWAIT); /* prepare: done, if it may; poll: libuv's callback; check: what is left */
    uv_close((uv_handle_t *)&check, NULL);
    /* From another thread the cancel comes in the same poll. */
    if (run.scene.way != BY_THREAD) assert_int_equal(done_at_moment, run.t->has_release);
    assert_int_equal(released_at_moment, 0);
    run_close(&run, run.scene.err);
    assert_null(list_in_done);
    crowd_close(&crowd);
  }
}

static void ended_between_the_result_and_its_callback_the_list_is_given_all_the_same(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2);
    moment_start(&run.moment, run.t, run_end, &run);
    run_tally(run.t);
    assert_int_equal(run.moment.came, 1);
    moment_stop(&run.moment);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    assert_non_null(list_in_done);
    run_close(&run, 0);
  }
}

static void a_result_that_comes_before_the_cancel_of_another_thread_is_heard_is_thrown_away(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = child_of(f->root);
    tally_t *t = gai_new(release);
    crowd_t crowd;
    early_t early;
    crowd_open(&crowd, IO_POOL - 1);
    early_open(&early, cancel_elsewhere, ctx);
    gai_start(ctx, t, "127.0.0.1", "80");
    crowd_overtaken(&crowd);
    run_tally(t);
    assert_int_equal(early.came, 1);
    assert_tally(t, UV_ECANCELED);
    assert_null(list_in_done);
    early_close(&early);
    crowd_close(&crowd);
    uvf_ctx_release(ctx);
  }
}

static void ended_afterwards_nothing_changes(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2);
    run.t->keep = 1;
    run_tally(run.t);
    run_end(&run);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    run_close(&run, 0);
  }
}

#ifdef RESOLVER_GATE
static void a_resolver_that_hangs_keeps_the_release_and_nothing_else(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    resolver_hang();
    run_open(&run, (way_t)(i / 2), i % 2);
    resolver_hangs();
    turn(&io.f->loop);
    assert_int_equal(run.t->done, 0);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    turn(&io.f->loop);
    assert_int_equal(run.t->done, run.t->has_release); /* at once; else it waits */
    assert_int_equal(run.t->released, 0);
    assert_int_equal(io.roots_closed, 0); /* a root that is closed waits for it */
    assert_int_equal(uvf_op_cancel(run.t->req), UV_EBUSY);
    resolver_let_go(1);
    run_close(&run, run.scene.err);
    assert_null(list_in_done);
    assert_int_equal(resolver_called(), run.calls + 1);
  }
}

static void wait_for_release(tally_t *t) {
  take(t);
  resolver_let_go(1);
  io.nested = 1;
  run_until(&io.f->loop, &t->released, 1);
  io.nested = 0;
}

static void done_may_run_the_loop_until_the_release_has_come(void **state) {
  fixture_t *f = *state;
  tally_t *t = gai_new(1);
  resolver_hang();
  t->in_done = wait_for_release; /* the request is freed in there */
  gai_start(f->root, t, "127.0.0.1", NULL);
  resolver_hangs();
  assert_int_equal(uvf_op_cancel(t->req), 0);
  run_tally(t);
  assert_tally(t, UV_ECANCELED);
}

static void the_dump_of_the_root_names_what_its_end_waits_for(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  tally_t *t = gai_new(1);
  char text[4000] = "";
  FILE *out = tmpfile();
  assert_non_null(out);
  resolver_hang();
  gai_start(ctx, t, "127.0.0.1", NULL);
  resolver_hangs();
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  assert_int_equal(t->done, 1);
  assert_int_equal(uvf_ctx_dump(f->root, out), 0);
  resolver_let_go(1);
  rewind(out);
  assert_true(fread(text, 1, sizeof text - 1, out) > 0);
  fclose(out);
  assert_non_null(strstr(text, "still held: background.with_cancel"));
  assert_non_null(strstr(text, "[getaddrinfo]  told, waits for its release"));
  run_tally(t);
  uvf_ctx_release(ctx);
}
#endif

static void under_a_context_that_is_over_nothing_is_resolved(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over[2] = {child_of(f->root), timeout_of(f->root, 0)};
  int calls = resolver_called();
  uvf_ctx_cancel(over[0]);
  for (int i = 0; i < 4; i++) {
    tally_t *t = gai_new(i % 2);
    gai_start(over[i / 2], t, "127.0.0.1", NULL);
    assert_int_equal(t->done, 0);
    assert_int_equal(uvf_op_cancel(t->req), UV_EBUSY);
    run_tally(t);
    assert_tally(t, i < 2 ? UV_ECANCELED : UV_ETIMEDOUT);
    assert_null(list_in_done);
  }
  turn(&f->loop);
  assert_int_equal(resolver_called(), calls);
  uvf_ctx_release(over[0]);
  uvf_ctx_release(over[1]);
}

/* --- starts --- */

static void bad_arguments_and_libuvs_own_refusals_leave_the_request_usable(void **state) {
  fixture_t *f = *state;
  tally_t *t = gai_new(1);
  static char longest[4000];
  memset(longest, 'a', sizeof longest - 1);
  assert_int_equal(uvf_getaddrinfo_start(NULL, req_of(t), "::1", NULL, NULL, on_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_getaddrinfo_start(f->root, NULL, "::1", NULL, NULL, on_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_getaddrinfo_start(f->root, req_of(t), NULL, NULL, NULL, on_done, on_release), UV_EINVAL);
  assert_true(io_call(uvf_getaddrinfo_start(f->root, req_of(t), longest, NULL, NULL, on_done, on_release)) < 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_false(uv_loop_alive(&f->loop));
  turn(&f->loop);
  assert_int_equal(t->done + t->released, 0);
  gai_start(f->root, t, "127.0.0.1", NULL);
  run_tally(t);
  assert_tally(t, 0);
}

static void without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  tally_t *t = gai_new(1);
  size_t n = 0;
  int err;
  do {
    size_t live = atomic_load(&libuv_live);
    libuv_fail_at(++n);
    test_alloc_fail_at(n);
    t->starts = 1;
    err = io_call(uvf_getaddrinfo_start(f->root, req_of(t), "127.0.0.1", "80", &numeric, on_done, on_release));
    if (err == 0) break;
    assert_int_equal(err, UV_ENOMEM);
    assert_int_equal(atomic_load(&libuv_live), live);
    assert_int_equal(stats_of(f->root).ops, 0);
    assert_false(uv_loop_alive(&f->loop));
  } while (n < 10);
  libuv_fail_at(0);
  test_alloc_fail_at(0);
  assert_true(n > 1 && n < 10);
  run_tally(t);
  assert_tally(t, 0);
}

static void start_again(void *arg) {
  (void)uvf_getaddrinfo_start(io.f->root, req_of(arg), "127.0.0.1", NULL, &numeric, on_done, NULL);
}

static void starting_one_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  tally_t *t = gai_new(0);
  gai_start(f->root, t, "127.0.0.1", NULL);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, t);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_getaddrinfo_start: ", strlen("uvf_getaddrinfo_start: "));
  }
  run_tally(t);
  assert_tally(t, 0);
}

/* --- callbacks --- */

static void count_done(uvf_getaddrinfo_t *req, int status) { *(int *)req->data += status == UV_EAI_NONAME ? 10 : 1000; }
static void count_release(uvf_getaddrinfo_t *req) { ++*(int *)req->data; }

static void either_callback_may_be_null(void **state) {
  static const struct {
    uvf_getaddrinfo_cb done;
    uvf_getaddrinfo_release_cb release;
    int calls;
  } rows[] = {{count_done, NULL, 10}, {NULL, count_release, 1}, {count_done, count_release, 11}, {NULL, NULL, 0}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_getaddrinfo_t req;
    int calls = 0;
    req.data = &calls;
    assert_int_equal(uvf_getaddrinfo_start(f->root, &req, "no number", NULL, &numeric, rows[i].done, rows[i].release),
                     0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0); /* it holds the loop until it is over */
    assert_int_equal(calls, rows[i].calls);
    assert_int_equal(req.status, UV_EAI_NONAME);
    assert_int_equal(stats_of(f->root).ops, 0);
  }
}

static void resolve_again(tally_t *t) {
  if (!t->has_release) take(t);
  if (t->starts < 3) gai_start(io.f->root, t, "127.0.0.1", NULL);
}

static void the_last_callback_may_start_the_same_request_again(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    tally_t *t = gai_new(release);
    if (release) {
      t->in_release = resolve_again;
    } else {
      t->in_done = resolve_again;
    }
    gai_start(f->root, t, "127.0.0.1", NULL);
    run_until(&f->loop, release ? &t->released : &t->done, 3);
    assert_int_equal(t->done, 3);
    assert_int_equal(t->status, 0);
  }
}

static void end_all(tally_t *t) {
  uvf_ctx_t *ctx = op_of_tally(t)->ctx;
  take(t);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  uvf_ctx_close(io.f->root, NULL);
  io.f->root = NULL;
}

static void done_may_end_its_context_and_close_the_root_under_others(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  tally_t *t = gai_new(1), *others[8];
  gai_start(ctx, t, "127.0.0.1", NULL);
  t->in_done = end_all;
  for (int i = 0; i < 8; i++) gai_start(i % 4 < 2 ? ctx : f->root, others[i] = gai_new(i % 2), "127.0.0.1", NULL);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_tally(t, 0);
  for (int i = 0; i < 8; i++) assert_tally(others[i], others[i]->status == 0 ? 0 : UV_ECANCELED);
}

static void of_a_hundred_some_ended_each_is_answered_once_and_no_list_is_left(void **state) {
  enum { N = 100 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  tally_t *t[N];
  int cancelled[N] = {0};
  uvf_ctx_t *ctx[5];
  for (int i = 0; i < 5; i++) ctx[i] = child_of(f->root);
  for (int i = 0; i < N; i++) {
    uint64_t k = test_rand(&seed) % ((uint64_t)i + 1);
    t[i] = gai_new((int)(test_rand(&seed) % 2));
    t[i]->keep = 1;
    gai_start(ctx[i % 5], t[i], "127.0.0.1", "80");
    if (test_rand(&seed) % 2 == 0) cancelled[k] += uvf_op_cancel(t[k]->req) == 0;
    if (test_rand(&seed) % 8 == 0) uv_run(&f->loop, UV_RUN_NOWAIT);
  }
  uvf_ctx_cancel(ctx[0]);
  for (int i = 0; i < N; i++) run_tally(t[i]);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    assert_true(cancelled[i] <= 1);
    assert_tally(t[i], cancelled[i] || (i % 5 == 0 && t[i]->status != 0) ? UV_ECANCELED : 0);
  }
  for (int i = 0; i < 5; i++) uvf_ctx_release(ctx[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_gai(it_gives_the_addresses_and_copies_what_it_was_given),
      unit_gai(a_service_alone_gives_the_local_host_and_the_local_host_has_a_name),
      unit_gai(what_does_not_resolve_says_why),
      unit_gai(ended_while_it_is_queued_it_is_never_resolved),
      unit_gai(ended_when_it_is_resolved_and_its_loop_has_not_heard_the_list_is_thrown_away),
      unit_gai(ended_between_the_result_and_its_callback_the_list_is_given_all_the_same),
      unit_gai(a_result_that_comes_before_the_cancel_of_another_thread_is_heard_is_thrown_away),
      unit_gai(ended_afterwards_nothing_changes),
#ifdef RESOLVER_GATE
      unit_gai(a_resolver_that_hangs_keeps_the_release_and_nothing_else),
      unit_gai(done_may_run_the_loop_until_the_release_has_come),
      unit_gai(the_dump_of_the_root_names_what_its_end_waits_for),
#endif
      unit_gai(under_a_context_that_is_over_nothing_is_resolved),
      unit_gai(bad_arguments_and_libuvs_own_refusals_leave_the_request_usable),
      unit_gai(without_memory_nothing_happens),
      unit_gai(starting_one_twice_is_misuse),
      unit_gai(either_callback_may_be_null),
      unit_gai(the_last_callback_may_start_the_same_request_again),
      unit_gai(done_may_end_its_context_and_close_the_root_under_others),
      unit_gai(of_a_hundred_some_ended_each_is_answered_once_and_no_list_is_left),
  };
  int failed;
  io_main();
  resolver_open();
  failed = test_run(tests);
  resolver_close();
  return failed;
}
