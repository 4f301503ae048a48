/* SPDX-License-Identifier: MIT
 *
 * What every test program shares: an allocator that counts and can fail, a loop with a root whose teardown checks
 * that nothing is left, and gates that force an interleaving. Assertions only on the test's own thread (cmocka 1.1.5
 * cannot report one from another).
 */
#ifndef UVFLOW_TEST_SUPPORT_H
#define UVFLOW_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <uvflow.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MS_NS UINT64_C(1000000)

/* --- allocator
 * ------------------------------------------------------------------------------------------------------ */
/* Installed by main through test_run(). Atomic: any thread. */
void test_alloc_install(void);
size_t test_alloc_live(void);      /* blocks not freed yet */
size_t test_alloc_count(void);     /* allocations since the start */
void test_alloc_fail_at(size_t n); /* the n-th allocation from now fails (1 = the next); 0 = none fails any more */
int test_alloc_failed(void);       /* 1 if that allocation has come and failed since fail_at */

/* --- a loop and its root
 * --------------------------------------------------------------------------------------------- */
typedef struct fixture_s {
  uv_loop_t loop;
  uvf_ctx_t *root; /* NULL once the test has closed it itself */
  int closed;      /* close callbacks seen */
  size_t blocks_before;
  void *data;
} fixture_t;

/* cmocka setup and teardown: *state is a fixture_t*. Teardown closes the root if it is still there, runs the loop to
 * its end, and asserts uv_loop_close() == 0 and that the library's live blocks are back where they were. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Closes f->root and runs the loop until its callback has come. */
void fixture_close_root(fixture_t *f);

/* Runs the loop until *flag >= wanted; fails the test when the loop has nothing left to do or 20 s are over. */
void run_until(uv_loop_t *loop, const int *flag, int wanted);

/* Runs the loop a few turns without blocking, so that everything due is delivered. */
void run_ready(uv_loop_t *loop);

/* --- gates
 * ------------------------------------------------------------------------------------------------------------ */
typedef struct gate_s {
  uv_sem_t sem;
} gate_t;
void gate_init(gate_t *g);
void gate_open(gate_t *g, unsigned int n); /* lets n waiters through */
void gate_pass(gate_t *g);                 /* blocks until let through */
void gate_destroy(gate_t *g);

/* --- misuse
 * ------------------------------------------------------------------------------------------------------------ */
/* In a build whose library asserts (debug): runs fn(arg), expecting the library to stop it with a rule; returns the
 * function's name and the rule as one string ("uvf_work_start: ..."), or NULL if fn came back without one. In a
 * release build returns NULL at once, and test_rules_on() is 0. The library must be linked statically. */
int test_rules_on(void);
const char *test_expect_rule(void (*fn)(void *), void *arg);

/* --- randomness
 * -------------------------------------------------------------------------------------------------------- */
/* Seed: UVF_TEST_SEED or the clock; printed. xorshift, one state per thread. */
uint64_t test_seed(void);
uint64_t test_rand(uint64_t *state);

/* Under valgrind, sanitizers or a debug build a soak may shrink: returns n / divisor when UVF_TEST_QUICK is set, n
 * otherwise. */
size_t test_scaled(size_t n, size_t divisor);

/* Runs a cmocka group with the allocator installed. */
#define test_run(tests) (test_alloc_install(), cmocka_run_group_tests(tests, NULL, NULL))
#define unit(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

#endif
