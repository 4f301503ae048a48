/* SPDX-License-Identifier: MIT
 *
 * How jobs share libuv's pool: never more threads than the limit, the last one free for others, turns between loops and
 * between us and other users of the pool. Pools of other sizes are tested in child processes (this program with
 * arguments), as libuv reads UV_THREADPOOL_SIZE once. That a slow job is in nobody's way is in test_runner_line.c.
 */
#include "test_job.h"

/* --- work that is not ours --- */

typedef struct plain_s {
  uv_work_t req;
  uv_fs_t fs;
  uv_getaddrinfo_t dns;
  gate_t ran; /* opened on the pool thread: seen also while the loop is busy */
  int over, fs_over, dns_over;
  int fs_result, dns_result;
} plain_t;

static void plain_fn(uv_work_t *req) { gate_open(&((plain_t *)req->data)->ran, 1); }
static void plain_after(uv_work_t *req, int status) { ((plain_t *)req->data)->over += status == 0; }
static void on_stat(uv_fs_t *fs) {
  plain_t *plain = fs->data;
  plain->fs_result = (int)fs->result;
  plain->fs_over++;
  uv_fs_req_cleanup(fs);
}
static void on_address(uv_getaddrinfo_t *dns, int status, struct addrinfo *list) {
  plain_t *plain = dns->data;
  plain->dns_result = status;
  plain->dns_over++;
  uv_freeaddrinfo(list);
}

static plain_t plain; /* static: it may still be queued when an assertion leaves the test */

static void plain_start(void) {
  memset(&plain, 0, sizeof plain);
  gate_init(&plain.ran);
  plain.req.data = plain.fs.data = plain.dns.data = &plain;
  assert_int_equal(uv_queue_work(&kit.f->loop, &plain.req, plain_fn, plain_after), 0);
}

static void plain_finish(void) {
  run_until(&kit.f->loop, &plain.over, 1);
  gate_destroy(&plain.ran);
}

/* n pieces of other work, one after the other: what our jobs could do with the pool meanwhile, they have done. */
static void plain_round_trips(int n) {
  for (int i = 0; i < n; i++) {
    plain_start();
    plain_finish();
  }
}

/* --- the limit --- */

static void the_limit_is_the_pool_less_one_by_default_and_never_more_than_the_pool(void **state) {
  (void)state;
  assert_int_equal(uvf_work_limit(), POOL_SIZE - 1);
  for (unsigned int n = 1; n <= POOL_SIZE; n++) {
    assert_int_equal(uvf_work_set_limit(n), 0);
    assert_int_equal(uvf_work_limit(), n);
  }
  assert_int_equal(uvf_work_set_limit(POOL_SIZE + 1), 0);
  assert_int_equal(uvf_work_limit(), POOL_SIZE);
  assert_int_equal(uvf_work_set_limit(UINT32_MAX), 0);
  assert_int_equal(uvf_work_limit(), POOL_SIZE);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_int_equal(uvf_work_limit(), POOL_SIZE - 1);
}

static atomic_int running, most;
static int stop; /* loop thread */

static void note_running(void) {
  int now = atomic_fetch_add(&running, 1) + 1, seen = atomic_load(&most);
  while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {}
}

static void spin(uint64_t ns) {
  uint64_t until = uv_hrtime() + ns;
  while (uv_hrtime() < until) {}
}

static void short_work(probe_t *p) {
  (void)p;
  note_running();
  spin(50000);
  atomic_fetch_sub(&running, 1);
}

static void jobs_never_hold_more_threads_than_the_limit(void **state) {
  enum { JOBS = 300 };
  (void)state;
  for (unsigned int limit = 1; limit <= POOL_SIZE; limit++) {
    probe_t *p[JOBS];
    atomic_store(&running, 0);
    atomic_store(&most, 0);
    assert_int_equal(uvf_work_set_limit(limit), 0);
    for (int i = 0; i < JOBS; i++) {
      p[i] = probe_new();
      p[i]->in_fn = short_work;
      probe_start(kit.f->root, p[i], i % 2);
    }
    for (int i = 0; i < JOBS; i++) run_probe(p[i]);
    assert_true(atomic_load(&most) <= (int)limit);
  }
}

static void jobs_use_as_many_threads_as_the_limit_and_a_freed_one_at_once(void **state) {
  enum { JOBS = 12 };
  (void)state;
  for (int limit = 1; limit <= POOL_SIZE; limit++) {
    probe_t *p[JOBS];
    atomic_store(&kit.fns, 0);
    assert_int_equal(uvf_work_set_limit((unsigned int)limit), 0);
    for (int i = 0; i < JOBS; i++) {
      p[i] = probe_new();
      p[i]->gated = 1;
      probe_start(kit.f->root, p[i], 0);
    }
    for (int i = 0; i < JOBS; i++) {
      int wanted = limit + i < JOBS ? limit + i : JOBS;
      assert_true(reaches(&kit.fns, wanted)); /* the loop does not run meanwhile */
      if (limit < POOL_SIZE) plain_round_trips(3);
      assert_int_equal(atomic_load(&kit.fns), wanted);
      gate_open(&p[i]->go, 1);
      if (limit < POOL_SIZE) run_probe(p[i]);
    }
    for (int i = 0; i < JOBS; i++) run_probe(p[i]);
  }
}

static void set_limit_entry(void *arg) { uvf_work_set_limit(*(unsigned int *)arg); }

static void raising_the_limit_starts_more_jobs_though_those_that_run_do_not_return(void **state) {
  enum { JOBS = 6 };
  unsigned int to = 3;
  probe_t *p[JOBS];
  (void)state;
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    uint64_t limit_ns;
    uv_thread_t thread;
    atomic_store(&kit.fns, 0);
    assert_int_equal(uvf_work_set_limit(1), 0);
    for (int i = 0; i < JOBS; i++) {
      p[i] = probe_new();
      p[i]->gated = 1;
      probe_start(kit.f->root, p[i], 0);
    }
    assert_true(gate_passed(&p[0]->started));
    plain_round_trips(3);
    assert_int_equal(atomic_load(&kit.fns), 1);
    if (elsewhere) {
      assert_int_equal(uv_thread_create(&thread, set_limit_entry, &to), 0);
      uv_thread_join(&thread);
    } else {
      assert_int_equal(uvf_work_set_limit(to), 0);
    }
    limit_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
    while (atomic_load(&kit.fns) < 3 && uv_hrtime() < limit_ns) uv_run(&kit.f->loop, UV_RUN_NOWAIT);
    assert_int_equal(atomic_load(&kit.fns), 3);
    plain_round_trips(3);
    assert_int_equal(atomic_load(&kit.fns), 3);
    for (int i = 0; i < JOBS; i++) gate_open(&p[i]->go, 1);
    for (int i = 0; i < JOBS; i++) run_probe(p[i]);
  }
}

static void lowering_the_limit_takes_effect_as_running_jobs_return(void **state) {
  enum { JOBS = 8 };
  probe_t *p[JOBS];
  (void)state;
  assert_int_equal(uvf_work_set_limit(3), 0);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    p[i]->gated = 1;
    probe_start(kit.f->root, p[i], 0);
  }
  assert_true(reaches(&kit.fns, 3));
  assert_int_equal(uvf_work_set_limit(1), 0);
  for (int i = 0; i < 2; i++) {
    gate_open(&p[i]->go, 1);
    run_probe(p[i]);
    plain_round_trips(5);
    assert_int_equal(atomic_load(&kit.fns), 3); /* a thread came free and was given back */
  }
  for (int i = 2; i < JOBS; i++) {
    gate_open(&p[i]->go, 1);
    run_probe(p[i]);
    if (i + 1 < JOBS) assert_true(reaches(&kit.fns, i + 2));
    plain_round_trips(2);
    assert_int_equal(atomic_load(&kit.fns), i + 2 < JOBS ? i + 2 : JOBS);
  }
}

/* --- others --- */

static void the_last_thread_of_the_pool_stays_free_for_other_users(void **state) {
  enum { JOBS = 20 };
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
  probe_t *p[JOBS];
  (void)state;
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    p[i]->gated = 1;
    probe_start(kit.f->root, p[i], i % 2);
  }
  assert_true(reaches(&kit.fns, POOL_SIZE - 1));
  plain_round_trips(10);
  plain_start();
  assert_int_equal(uv_fs_stat(&kit.f->loop, &plain.fs, ".", on_stat), 0);
  assert_int_equal(uv_getaddrinfo(&kit.f->loop, &plain.dns, on_address, "127.0.0.1", NULL, &hints), 0);
  run_until(&kit.f->loop, &plain.fs_over, 1);
  run_until(&kit.f->loop, &plain.dns_over, 1);
  assert_int_equal(plain.fs_result, 0);
  assert_int_equal(plain.dns_result, 0);
  plain_finish();
  assert_int_equal(atomic_load(&kit.fns), POOL_SIZE - 1);
  for (int i = 0; i < JOBS; i++) gate_open(&p[i]->go, 1);
  for (int i = 0; i < JOBS; i++) run_probe(p[i]);
}

static void spin_100us(probe_t *p) {
  (void)p;
  spin(100000);
}
static void start_again(probe_t *p, int status) {
  (void)status;
  if (!stop) probe_start(kit.f->root, p, 0);
}

/* Jobs that keep coming: as many as `n` in the queue at any time. */
static void flood(probe_t **p, size_t n) {
  stop = 0;
  for (size_t i = 0; i < n; i++) {
    p[i] = probe_new();
    p[i]->keep = 1;
    p[i]->in_fn = spin_100us;
    p[i]->in_done = start_again;
    probe_start(kit.f->root, p[i], 0);
  }
}

static void others_get_their_turn_while_jobs_keep_coming(void **state) {
  probe_t *p[200];
  (void)state;
  assert_int_equal(uvf_work_set_limit(UINT32_MAX), 0); /* every thread of the pool is ours */
  flood(p, ARRAY_SIZE(p));
  for (int i = 0; i < 5; i++) plain_round_trips(1);
  plain_start();
  assert_int_equal(uv_fs_stat(&kit.f->loop, &plain.fs, ".", on_stat), 0);
  run_until(&kit.f->loop, &plain.fs_over, 1);
  plain_finish();
  stop = 1;
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
}

static void sleep_1ms(probe_t *p) {
  (void)p;
  uv_sleep(1);
}

/* With the default limit: with the whole pool it would take a loop that turns, as work.h says. */
static void others_get_their_turn_while_the_loop_is_busy(void **state) {
  enum { JOBS = 40000 }; /* ten seconds of work at least */
  uvf_ctx_t *ctx = NULL;
  probe_t **p = calloc(JOBS, sizeof(*p));
  int ran_before;
  (void)state;
  assert_non_null(p);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    p[i]->in_fn = sleep_1ms;
    probe_start(ctx, p[i], 0);
  }
  plain_start();
  assert_true(gate_passed(&plain.ran)); /* the loop stands here: a long callback */
  ran_before = atomic_load(&kit.fns);
  assert_true(ran_before < JOBS); /* it did not wait for ours to end */
  ctx_cancel(ctx);
  plain_finish();
  for (int i = 0; i < JOBS; i++) run_probe(p[i]);
  uvf_ctx_release(ctx);
  free(p);
}

static void jobs_go_on_while_the_loop_is_busy(void **state) {
  enum { JOBS = 100 };
  probe_t *p[JOBS];
  (void)state;
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    p[i]->in_fn = sleep_1ms;
    probe_start(kit.f->root, p[i], 0);
  }
  assert_true(reaches(&kit.fns, JOBS)); /* several quanta, and the loop has not run */
  for (int i = 0; i < JOBS; i++) run_probe(p[i]);
}

/* --- two loops --- */

typedef struct other_s {
  uv_thread_t thread;
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_work_t job;
  int left, result;
  atomic_int finished;
} other_t;

static int other_fn(uvf_work_t *job) {
  (void)job;
  note_running();
  atomic_fetch_sub(&running, 1);
  return 0;
}
static void other_done(uvf_work_t *job, int status) {
  other_t *other = job->data;
  if (status != 0) other->result = status;
  if (--other->left > 0 && uvf_work_start(other->root, job, other_fn, other_done, NULL) != 0) other->result = UV_EPROTO;
}
static void other_run(void *arg) {
  other_t *other = arg;
  other->job.data = other;
  if ((other->result = uv_loop_init(&other->loop)) != 0) return;
  if ((other->result = uvf_ctx_background(&other->loop, &other->root)) != 0) return;
  other->result = uvf_work_start(other->root, &other->job, other_fn, other_done, NULL);
  uv_run(&other->loop, UV_RUN_DEFAULT);
  atomic_store(&other->finished, 1);
  uvf_ctx_close(other->root, NULL);
  uv_run(&other->loop, UV_RUN_DEFAULT);
  if (other->result == 0) other->result = uv_loop_close(&other->loop);
}

static other_t other;

static void other_start(int jobs) {
  memset(&other, 0, sizeof other);
  other.left = jobs;
  assert_int_equal(uv_thread_create(&other.thread, other_run, &other), 0);
}

static void a_second_loop_gets_its_turn_while_the_firsts_jobs_keep_coming(void **state) {
  (void)state;
  for (unsigned int limit = 1; limit <= 3; limit += 2) {
    probe_t *p[100];
    uint64_t limit_ns;
    assert_int_equal(uvf_work_set_limit(limit), 0);
    flood(p, ARRAY_SIZE(p));
    uv_run(&kit.f->loop, UV_RUN_ONCE);
    other_start(20);
    limit_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
    while (!atomic_load(&other.finished) && uv_hrtime() < limit_ns) uv_run(&kit.f->loop, UV_RUN_ONCE);
    stop = uv_hrtime() < limit_ns ? 1 : -1;
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
    uv_thread_join(&other.thread);
    assert_int_equal(stop, 1);
    assert_int_equal(other.result, 0);
    assert_int_equal(other.left, 0);
  }
}

static void a_second_loop_gets_its_turn_while_the_first_is_busy_before_a_long_queue(void **state) {
  enum { JOBS = 20000 };
  (void)state;
  for (unsigned int limit = 1; limit <= 2; limit++) {
    uvf_ctx_t *ctx = NULL;
    probe_t **p = calloc(JOBS, sizeof(*p));
    int finished;
    assert_non_null(p);
    assert_int_equal(uvf_work_set_limit(limit), 0);
    assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
    atomic_store(&kit.fns, 0);
    for (int i = 0; i < JOBS; i++) {
      p[i] = probe_new();
      p[i]->in_fn = sleep_1ms;
      probe_start(ctx, p[i], 0);
    }
    other_start(1);
    finished = reaches(&other.finished, 1); /* the first loop stands here */
    ctx_cancel(ctx);
    for (int i = 0; i < JOBS; i++) run_probe(p[i]);
    uv_thread_join(&other.thread);
    assert_true(finished);
    assert_true(atomic_load(&kit.fns) < JOBS);
    assert_int_equal(other.result, 0);
    uvf_ctx_release(ctx);
    free(p);
  }
}

static void all_loops_together_keep_to_one_limit(void **state) {
  probe_t *p[300];
  (void)state;
  for (unsigned int limit = 1; limit <= 3; limit++) {
    atomic_store(&running, 0);
    atomic_store(&most, 0);
    assert_int_equal(uvf_work_set_limit(limit), 0);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
      p[i] = probe_new();
      p[i]->in_fn = short_work;
      probe_start(kit.f->root, p[i], 0);
    }
    other_start(200);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
    uv_thread_join(&other.thread);
    assert_int_equal(other.result, 0);
    assert_true(atomic_load(&most) <= (int)limit);
  }
}

/* A loop whose job waits for a thread that another loop holds gets it when it comes free, though nothing else stirs. */
static void a_second_loops_job_starts_when_the_firsts_parked_job_returns(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    kit_block_share(1);
    other_start(1);
    uv_sleep((unsigned int)(i % 3)); /* before, during or after its start: it must not matter */
    assert_int_equal(atomic_load(&other.finished), 0);
    gate_open(&kit.blockers[0]->go, 1);
    assert_true(reaches(&other.finished, 1)); /* the first loop does not run meanwhile */
    uv_thread_join(&other.thread);
    assert_int_equal(other.result, 0);
    kit_unblock();
  }
}

/* --- pools of other sizes: this program again, as a child --- */

static int child_limit(unsigned int size) {
  unsigned int wanted = size > 1 ? size - 1 : 1, limit = uvf_work_limit(), cut;
  uvf_work_set_limit(UINT32_MAX);
  cut = uvf_work_limit();
  uvf_work_set_limit(0);
  if (limit == wanted && cut == size && uvf_work_limit() == wanted) return 0;
  fprintf(stderr, "limit %u, cut to %u; wanted %u, %u\n", limit, cut, wanted, size);
  return 1;
}

static void jobs_run_and_are_withdrawn_in_a_pool_of_one(void **state) {
  probe_t *parked = probe_new(), *p[50];
  (void)state;
  parked->gated = 1;
  probe_start(kit.f->root, parked, 1);
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
    p[i] = probe_new();
    probe_start(kit.f->root, p[i], (int)(i % 2));
  }
  assert_true(gate_passed(&parked->started));
  assert_int_equal(probe_cancel(p[0]), 0);
  run_probe(p[0]);
  assert_int_equal(p[0]->status, UV_ECANCELED);
  gate_open(&parked->go, 1);
  for (size_t i = 1; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
  for (size_t i = 1; i < ARRAY_SIZE(p); i++) assert_int_equal(p[i]->start_index, (int)i);
  run_probe(parked);
}

static int child_pool_of_one(void) {
  const struct CMUnitTest tests[] = {
      job_test(jobs_run_and_are_withdrawn_in_a_pool_of_one),
      job_test(others_get_their_turn_while_jobs_keep_coming),
      job_test(jobs_go_on_while_the_loop_is_busy),
      job_test(a_second_loop_gets_its_turn_while_the_firsts_jobs_keep_coming),
      job_test(a_second_loops_job_starts_when_the_firsts_parked_job_returns),
  };
  return test_run(tests);
}

static int64_t child_status;
static int child_exited;
static void on_child_exit(uv_process_t *child, int64_t status, int term_signal) {
  child_status = term_signal != 0 ? -1 : status;
  child_exited++;
  uv_close((uv_handle_t *)child, NULL);
}

static void run_child(const char *pool_size, const char *mode, const char *argument) {
  static char path[4096], mode_copy[32], argument_copy[32];
  char *args[] = {path, mode_copy, argument_copy, NULL};
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 1}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {
      .exit_cb = on_child_exit, .file = path, .args = args, .stdio = stdio, .stdio_count = 3};
  static uv_process_t child;
  size_t size = sizeof path;
  snprintf(mode_copy, sizeof mode_copy, "%s", mode);
  snprintf(argument_copy, sizeof argument_copy, "%s", argument);
  assert_int_equal(uv_exepath(path, &size), 0);
  if (pool_size != NULL) {
    assert_int_equal(uv_os_setenv("UV_THREADPOOL_SIZE", pool_size), 0);
  } else {
    assert_int_equal(uv_os_unsetenv("UV_THREADPOOL_SIZE"), 0);
  }
  fflush(stdout);
  child_exited = 0;
  assert_int_equal(uv_spawn(&kit.f->loop, &child, &options), 0);
  assert_int_equal(uv_os_setenv("UV_THREADPOOL_SIZE", "4"), 0);
  uv_run(&kit.f->loop, UV_RUN_DEFAULT);
  assert_int_equal(child_exited, 1);
  if (child_status != 0) fail_msg("UV_THREADPOOL_SIZE=%s: the child failed", pool_size != NULL ? pool_size : "(unset)");
}

static void the_pools_size_is_read_as_libuv_reads_it(void **state) {
  static const struct {
    const char *text, *size;
  } rows[] = {{NULL, "4"}, {"0", "1"},  {"1", "1"},  {"2", "2"},     {"16", "16"},     {"junk", "1"},
              {"", "1"},   {"3x", "3"}, {" 5", "5"}, {"-1", "1024"}, {"5000", "1024"}, {"1024", "1024"}};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) run_child(rows[i].text, "--limit", rows[i].size);
}

static void a_pool_of_one_thread_serves_jobs_and_others_in_turn(void **state) {
  static const char *const sizes[] = {"1", "0", "junk"};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) run_child(sizes[i], "--pool-of-one", "");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      job_test(the_limit_is_the_pool_less_one_by_default_and_never_more_than_the_pool),
      job_test(jobs_never_hold_more_threads_than_the_limit),
      job_test(jobs_use_as_many_threads_as_the_limit_and_a_freed_one_at_once),
      job_test(raising_the_limit_starts_more_jobs_though_those_that_run_do_not_return),
      job_test(lowering_the_limit_takes_effect_as_running_jobs_return),
      job_test(the_last_thread_of_the_pool_stays_free_for_other_users),
      job_test(others_get_their_turn_while_jobs_keep_coming),
      job_test(others_get_their_turn_while_the_loop_is_busy),
      job_test(jobs_go_on_while_the_loop_is_busy),
      job_test(a_second_loop_gets_its_turn_while_the_firsts_jobs_keep_coming),
      job_test(a_second_loop_gets_its_turn_while_the_first_is_busy_before_a_long_queue),
      job_test(all_loops_together_keep_to_one_limit),
      job_test(a_second_loops_job_starts_when_the_firsts_parked_job_returns),
      job_test(the_pools_size_is_read_as_libuv_reads_it),
      job_test(a_pool_of_one_thread_serves_jobs_and_others_in_turn),
  };
  uv_setup_args(argc, argv);
  if (argc > 2 && strcmp(argv[1], "--limit") == 0) return child_limit((unsigned int)atoi(argv[2]));
  if (argc > 1 && strcmp(argv[1], "--pool-of-one") == 0) return child_pool_of_one();
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
