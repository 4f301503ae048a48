/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/rule.h"

/* --- allocator -------------------------------------------------------------------------------- */

static atomic_size_t live;
static atomic_size_t count;
static atomic_size_t fail_in; /* counts down; the allocation that takes it from 1 to 0 fails */
static atomic_int failed;
static int installed;

static void *counting_malloc(size_t size) {
  void *p;
  size_t left = atomic_load(&fail_in);
  while (left > 0 && !atomic_compare_exchange_weak(&fail_in, &left, left - 1)) {}
  if (left == 1) {
    atomic_store(&failed, 1);
    return NULL;
  }
  p = malloc(size);
  if (p == NULL) return NULL;
  memset(p, 0xa5, size); /* nothing may count on zeroed memory */
  atomic_fetch_add(&live, 1);
  atomic_fetch_add(&count, 1);
  return p;
}

static void counting_free(void *p) {
  if (p == NULL) return;
  atomic_fetch_sub(&live, 1);
  free(p);
}

void test_alloc_install(void) {
  if (installed) return;
  installed = 1;
  if (uvf_replace_allocator(counting_malloc, counting_free) != 0) abort();
}

size_t test_alloc_live(void) { return atomic_load(&live); }
size_t test_alloc_count(void) { return atomic_load(&count); }

void test_alloc_fail_at(size_t n) {
  atomic_store(&failed, 0);
  atomic_store(&fail_in, n);
}

int test_alloc_failed(void) { return atomic_load(&failed); }

/* --- fixture ---------------------------------------------------------------------------------- */

static fixture_t *closing;

static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  closing->closed++;
}

int fixture_setup(void **state) {
  fixture_t *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  f->blocks_before = test_alloc_live();
  if (uv_loop_init(&f->loop) != 0) return -1;
  f->loop.data = f;
  if (uvf_ctx_background(&f->loop, &f->root) != 0) return -1;
  *state = f;
  return 0;
}

void fixture_close_root(fixture_t *f) {
  uvf_ctx_t *root = f->root;
  int wanted = f->closed + 1;
  closing = f;
  f->root = NULL;
  uvf_ctx_close(root, on_root_closed);
  run_until(&f->loop, &f->closed, wanted);
}

int fixture_teardown(void **state) {
  fixture_t *f = *state;
  int err;
  test_alloc_fail_at(0);
  if (f->root != NULL) fixture_close_root(f);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&f->loop);
  if (err != 0) uv_print_all_handles(&f->loop, stderr);
  assert_int_equal(err, 0);
  assert_int_equal(test_alloc_live(), f->blocks_before);
  free(f);
  return 0;
}

static void on_watchdog(uv_timer_t *timer) { *(int *)timer->data = 1; }

static void on_watchdog_closed(uv_handle_t *handle) { free(handle); }

void run_until(uv_loop_t *loop, const int *flag, int wanted) {
  uv_timer_t *watchdog = malloc(sizeof *watchdog);
  static int late; /* static: the callback may only come after an assertion left this frame */
  late = 0;
  assert_non_null(watchdog);
  assert_int_equal(uv_timer_init(loop, watchdog), 0);
  uv_unref((uv_handle_t *)watchdog);
  watchdog->data = &late;
  assert_int_equal(uv_timer_start(watchdog, on_watchdog, 20000, 0), 0);
  while (*flag < wanted && !late) {
    int alive = uv_run(loop, UV_RUN_ONCE);
    if (!alive && *flag < wanted) break;
  }
  uv_close((uv_handle_t *)watchdog, on_watchdog_closed);
  uv_run(loop, UV_RUN_NOWAIT);
  if (*flag < wanted)
    fail_msg("%s: flag is %d, wanted %d", late ? "20 s are over" : "the loop has nothing left", *flag, wanted);
}

void run_ready(uv_loop_t *loop) {
  for (int i = 0; i < 4; i++) uv_run(loop, UV_RUN_NOWAIT);
}

/* --- gates ------------------------------------------------------------------------------------ */

void gate_init(gate_t *g) {
  if (uv_sem_init(&g->sem, 0) != 0) abort();
}
void gate_open(gate_t *g, unsigned int n) {
  while (n-- > 0) uv_sem_post(&g->sem);
}
void gate_pass(gate_t *g) { uv_sem_wait(&g->sem); }
void gate_destroy(gate_t *g) { uv_sem_destroy(&g->sem); }

/* --- misuse ----------------------------------------------------------------------------------- */

static jmp_buf rule_jump;
static char rule_text[512];

static void on_rule(const char *function, const char *rule) {
  snprintf(rule_text, sizeof rule_text, "%s: %s", function, rule);
  longjmp(rule_jump, 1);
}

int test_rules_on(void) { return UVF__RULES; }

const char *test_expect_rule(void (*fn)(void *), void *arg) {
  const char *volatile result = NULL;
  if (!test_rules_on()) return NULL;
  uvf__rule_hook = on_rule;
  if (setjmp(rule_jump) == 0) {
    fn(arg);
  } else {
    result = rule_text;
  }
  uvf__rule_hook = NULL;
  return result;
}

/* --- randomness ------------------------------------------------------------------------------- */

uint64_t test_seed(void) {
  const char *text = getenv("UVF_TEST_SEED");
  uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : uv_hrtime();
  if (seed == 0) seed = 1;
  printf("seed %llu (UVF_TEST_SEED repeats it)\n", (unsigned long long)seed);
  return seed;
}

uint64_t test_rand(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

size_t test_scaled(size_t n, size_t divisor) { return getenv("UVF_TEST_QUICK") != NULL ? n / divisor : n; }
