/* SPDX-License-Identifier: MIT
 *
 * Ctrl-C in md5all: at moments that are known, and at a hundred that are not.
 */
#include "md5all_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { RUNS = 100, FILES = 400, SECOND_FILES = 3000, MANY_BYTES = 200 * 1024 };

static const char *const MODES[] = {"bounded", "parallel", "serial"};
enum { NMODES = 3 };

/* --- once ---------------------------------------------------------------------------------------------------- */

/* The error about the argument in the middle says that the walk has come so far; what follows has no end. */
static void ctrl_c_stops_within_a_block_and_says_how_far_it_came(void **state) {
  tree_t *tree = *state;
  counts_t counts;
  make_many(tree, "many", 50, MANY_BYTES);
  make_many(tree, "endless", 8, 64 * GIB);
  tree->child.interrupt_at = "none: no such file";
  for (int i = 0; i < NMODES; i++) {
    RUN_MD5ALL(tree, "--mode", MODES[i], "--stats", path_of(tree, "many"), path_of(tree, "none"),
               path_of(tree, "endless"));
    assert_int_equal(tree->child.signal, 0);
    assert_int_equal(tree->child.exit_status, 130);
    assert_has(&tree->child.err, "md5all: interrupted; once more to end at once\n");
    assert_has(&tree->child.err, "md5all: interrupted: ");
    assert_has(&tree->child.err, "found = digested + failed + not done\n");
    if (i == 0) assert_has(&tree->child.err, "at every stage in = done + failed + dropped\n");
    read_counts(tree, &counts);
    assert_int_equal(lines_of(&tree->child.out), counts.digested);
    assert_true(counts.digested <= 50); /* nothing that has no end was called done */
    assert_int_equal(counts.failed, 0);
    assert_in_range(tree->child.took_ns, 0, 10000 * MS_NS * UVF_TEST_SLOWDOWN); /* one of the files takes minutes */
  }
}

/* --- twice --------------------------------------------------------------------------------------------------- */

static void run_until_said(tree_t *tree, const char *says) {
  while (!tree->child.err.at || !strstr(tree->child.err.at, says)) {
    assert_true(tree->child.open > 0);
    uv_run(&tree->loop, UV_RUN_ONCE);
  }
}

/* Nobody reads the result, so printing it does not end. */
static void a_second_ctrl_c_ends_it_at_once(void **state) {
  tree_t *tree = *state;
  counts_t counts;
  make_many(tree, "many", SECOND_FILES, 1);
  make_many(tree, "endless", 8, 64 * GIB);
  const char *const argv[] = {
      MD5ALL, "--mode", "serial", path_of(tree, "many"), path_of(tree, "none"), path_of(tree, "endless"), NULL};
  tree->child.argv = argv;
  tree->child.hold_output = 1;
  tree->child.interrupt_at = "none: no such file";
  child_start(&tree->child, &tree->loop);
  run_until_said(tree, "md5all: interrupted: ");
  child_interrupt(&tree->child);
  child_wait(&tree->child, &tree->loop);
  assert_int_equal(tree->child.signal, 0);
  assert_int_equal(tree->child.exit_status, 130);
  read_counts(tree, &counts);
  assert_int_equal(counts.digested, SECOND_FILES);
}

static void ctrl_c_while_printing_ends_it_and_says_how_far_it_came(void **state) {
  tree_t *tree = *state;
  counts_t counts;
  make_many(tree, "many", SECOND_FILES, 1);
  tree->child.hold_output = 1;
  tree->child.interrupt_at = "found = digested";
  RUN_MD5ALL(tree, "--stats", path_of(tree, "many"));
  assert_int_equal(tree->child.signal, 0);
  assert_int_equal(tree->child.exit_status, 130);
  assert_has(&tree->child.err, "md5all: interrupted while printing: ");
  read_counts(tree, &counts);
  assert_int_equal(counts.digested, SECOND_FILES);
}

/* --- at any moment ------------------------------------------------------------------------------------------- */

/* Ctrl-C is ignored until the program sees to it, as it is for what a shell starts in the background: else its first
 * few milliseconds would be most of what is tested. */
static void start(tree_t *tree, const char *const *argv, uint64_t interrupt_at_ns) {
  tree->child.argv = argv;
  child_start(&tree->child, &tree->loop);
  while (interrupt_at_ns && tree->child.open && uv_hrtime() - tree->child.began_ns < interrupt_at_ns)
    uv_run(&tree->loop, UV_RUN_NOWAIT);
  if (interrupt_at_ns) uv_process_kill(&tree->child.process, SIGINT); /* it may have ended */
  child_wait(&tree->child, &tree->loop);
}

/* What a run may end as. 1: it was interrupted before it was through. */
static int check_end(tree_t *tree) {
  child_t *child = &tree->child;
  size_t lines = lines_of(&child->out);
  counts_t counts;
  assert_has_not(&child->err, "Sanitizer");
  if (child->signal) { /* before the shell ignored it, or when all was done and the handler gone */
    assert_int_equal(child->signal, SIGINT);
    assert_true(lines == 0 || lines == FILES);
    assert_string_equal(child->err.at ? child->err.at : "", "");
    return 0;
  }
  if (child->exit_status == 0) {
    assert_int_equal(lines, FILES);
    assert_string_equal(child->err.at ? child->err.at : "", "");
    return 0;
  }
  assert_int_equal(child->exit_status, 130);
  read_counts(tree, &counts);
  assert_true(counts.found <= FILES);
  assert_int_equal(counts.failed, 0);
  assert_true(counts.bytes >= counts.digested * MANY_BYTES);
  if (strstr(child->err.at, "interrupted while printing")) return 1;
  assert_has(&child->err, "md5all: interrupted: ");
  assert_int_equal(lines, counts.digested);
  return 1;
}

static void at_a_hundred_random_moments_it_ends_with_counts_that_add_up(void **state) {
  tree_t *tree = *state;
  uint64_t seed = test_seed();
  uint64_t whole_ns[NMODES];
  int interrupted = 0;
  make_many(tree, "many", FILES, MANY_BYTES);
  for (int i = 0; i < RUNS + NMODES; i++) {
    const char *mode = MODES[i % NMODES];
    const char *const argv[] = {"sh",     "-c", "trap '' INT; exec \"$@\"", "sh", MD5ALL,
                                "--mode", mode, path_of(tree, "many"),      NULL};
    if (i < NMODES) { /* how long one takes that nobody stops */
      start(tree, argv, 0);
      assert_int_equal(tree->child.exit_status, 0);
      assert_int_equal(lines_of(&tree->child.out), FILES);
      whole_ns[i] = tree->child.took_ns;
      continue;
    }
    start(tree, argv, 1 + test_rand(&seed) % whole_ns[i % NMODES]);
    interrupted += check_end(tree);
  }
  print_message("%d of %d runs were interrupted on their way\n", interrupted, RUNS);
  assert_true(interrupted > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      tree_test(ctrl_c_stops_within_a_block_and_says_how_far_it_came),
      tree_test(a_second_ctrl_c_ends_it_at_once),
      tree_test(ctrl_c_while_printing_ends_it_and_says_how_far_it_came),
      tree_test(at_a_hundred_random_moments_it_ends_with_counts_that_add_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
