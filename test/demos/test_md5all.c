/* SPDX-License-Identifier: MIT
 *
 * What md5all prints. How it is interrupted is in test_md5all_interrupt.c.
 */
#include "md5all_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const MODES[] = {"serial", "parallel", "bounded"};
enum { NMODES = 3 };

/* --- the digests --------------------------------------------------------------------------------------------- */

static void each_mode_prints_what_md5sum_does_for_the_files_that_find_names(void **state) {
  /* around the size of a block, which is 128 KiB */
  static const size_t SIZES[] = {0, 1, 55, 56, 64, 4096, 131071, 131072, 131073, 262144, 300001};
  tree_t *tree = *state;
  char *data = malloc(300001 + 20);
  text_t expected = {0};
  assert_non_null(data);
  for (size_t i = 0; i < 300001 + 20; i++) data[i] = (char)(i * 2654435761u >> 7);
  make_dir(tree, "t");
  for (int d = 0; d < 20; d++) {
    char name[64];
    snprintf(name, sizeof(name), d % 3 ? "t/dir%d" : "t/dir%d.x", d);
    make_dir(tree, name);
    for (int f = 0; f < 30; f++) {
      snprintf(name, sizeof(name), d % 3 ? "t/dir%d/file%d" : "t/dir%d.x/file%d", d, f);
      make_file(tree, name, data + d, SIZES[(d + f) % 11]);
    }
  }
  free(data);
  make_file(tree, "t/with  two spaces", "s", 1);
  make_file(tree, "t/line\nfeed", "n", 1);
  make_file(tree, "t/back\\slash", "b", 1);
  make_file(tree, "t/\303\274n\303\257c\303\266de \342\230\203", "u", 1);
  make_file(tree, "t/-dash", "d", 1);
  make_file(tree, "t/dir1/.hidden", "h", 1);
  make_link(tree, "line\nfeed", "t/link");
  make_link(tree, "dir1", "t/link to dir");
  make_fifo(tree, "t/fifo");

  child_run(&tree->child, &tree->loop, "sh", "-c",
            "cd \"$1\" && find t -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum", "sh", tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_int_equal(lines_of(&tree->child.out), 606);
  text_add(&expected, tree->child.out.at, tree->child.out.len);
  for (int i = 0; i < NMODES; i++) {
    child_run(&tree->child, &tree->loop, "sh", "-c", "cd \"$1\" && exec \"$2\" --mode \"$3\" t", "sh", tree->dir,
              MD5ALL, MODES[i]);
    assert_int_equal(tree->child.exit_status, 0);
    assert_string_equal(tree->child.out.at, expected.at);
    assert_int_equal(tree->child.err.len, 0);
  }
  text_free(&expected);
}

static void names_that_need_it_are_escaped(void **state) {
  tree_t *tree = *state;
  char *data = NULL;
  make_file(tree, "a\rb", data, 0);
  make_file(tree, "a\nb", data, 0);
  make_file(tree, "a\\b", data, 0);
  child_run(&tree->child, &tree->loop, "sh", "-c", "cd \"$1\" && exec \"$2\" .", "sh", tree->dir, MD5ALL);
  assert_int_equal(tree->child.exit_status, 0);
  assert_string_equal(tree->child.out.at, "\\d41d8cd98f00b204e9800998ecf8427e  ./a\\nb\n"
                                          "\\d41d8cd98f00b204e9800998ecf8427e  ./a\\rb\n"
                                          "\\d41d8cd98f00b204e9800998ecf8427e  ./a\\\\b\n");
}

static void paths_are_joined_as_find_joins_them(void **state) {
  tree_t *tree = *state;
  make_dir(tree, "d");
  make_file(tree, "d/f", "x", 1);
  make_link(tree, "d", "l");
  child_run(&tree->child, &tree->loop, "sh", "-c", "cd \"$1\" && exec \"$2\" d d/ l ./d/f -- d", "sh", tree->dir,
            MD5ALL);
  assert_int_equal(tree->child.exit_status, 0);
  assert_string_equal(tree->child.out.at, "9dd4e461268c8034f5c8564e155c67a6  ./d/f\n"
                                          "9dd4e461268c8034f5c8564e155c67a6  d/f\n"
                                          "9dd4e461268c8034f5c8564e155c67a6  d/f\n"
                                          "9dd4e461268c8034f5c8564e155c67a6  d/f\n"
                                          "9dd4e461268c8034f5c8564e155c67a6  l/f\n");
}

static void any_digest_of_openssl_can_be_asked_for(void **state) {
  tree_t *tree = *state;
  make_file(tree, "f", "abc", 3);
  RUN_MD5ALL(tree, "--algo", "sha1", tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_has(&tree->child.out, "a9993e364706816aba3e25717850c26c9cd0d89d  ");
  RUN_MD5ALL(tree, "--algo=SHA512", "--mode=serial", tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_has(&tree->child.out, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                               "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f  ");
}

static void an_empty_directory_prints_nothing(void **state) {
  tree_t *tree = *state;
  for (int i = 0; i < NMODES; i++) {
    RUN_MD5ALL(tree, "--mode", MODES[i], tree->dir);
    assert_int_equal(tree->child.exit_status, 0);
    assert_int_equal(tree->child.out.len, 0);
    assert_int_equal(tree->child.err.len, 0);
  }
}

/* --- errors -------------------------------------------------------------------------------------------------- */

static void what_cannot_be_read_is_reported_and_the_rest_is_done(void **state) {
  tree_t *tree = *state;
  make_dir(tree, "d");
  make_file(tree, "d/good", "x", 1);
  make_dir(tree, "d/e");
  make_file(tree, "d/e/good", "x", 1);
  make_link(tree, "self", "d/self");
  make_link(tree, "nowhere", "d/dangling"); /* passed over, as other links */
  make_link(tree, "round", "turn");
  make_link(tree, "turn", "round");
  make_fifo(tree, "fifo");
  for (int i = 0; i < NMODES; i++) {
    RUN_MD5ALL(tree, "--mode", MODES[i], path_of(tree, "none"), path_of(tree, "turn"), path_of(tree, "fifo"),
               path_of(tree, "d"), "--stats");
    assert_int_equal(tree->child.exit_status, 1);
    assert_int_equal(lines_of(&tree->child.out), 2);
    assert_int_equal(count_lines(&tree->child.out, "9dd4e461268c8034f5c8564e155c67a6  ", "good"), 2);
    assert_int_equal(count_lines(&tree->child.err, "md5all: ", "/none: no such file"), 1);
    assert_int_equal(count_lines(&tree->child.err, "md5all: ", "/turn: too many symbolic links"), 1);
    assert_int_equal(count_lines(&tree->child.err, "md5all: ", "/fifo: inappropriate file type"), 1);
    assert_int_equal(count_lines(&tree->child.err, "md5all: ", "/d/self: too many symbolic links"), 1);
    assert_int_equal(count_lines(&tree->child.err, "md5all: ", NULL), 4);
    assert_has(&tree->child.err, "2 files found: 2 digested, 0 failed, 0 not done; 2 bytes read");
  }
}

static void links_are_followed_on_request_and_loops_of_them_reported(void **state) {
  tree_t *tree = *state;
  make_dir(tree, "d");
  make_dir(tree, "d/e");
  make_file(tree, "d/e/f", "x", 1);
  make_link(tree, "e/f", "d/to file");
  make_link(tree, "e", "d/to dir");
  make_link(tree, "..", "d/e/up");
  make_link(tree, "nowhere", "d/dangling");
  for (int i = 0; i < NMODES; i++) {
    RUN_MD5ALL(tree, "--follow", "--mode", MODES[i], path_of(tree, "d"));
    assert_int_equal(tree->child.exit_status, 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/e/up: too many symbolic links", NULL), 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/to dir/up: too many symbolic links", NULL), 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/dangling: no such file", NULL), 1);
    assert_int_equal(lines_of(&tree->child.err), 3);
    assert_int_equal(count_lines(&tree->child.out, "9dd4e461268c8034f5c8564e155c67a6  ", "/d/e/f"), 1);
    assert_int_equal(count_lines(&tree->child.out, "9dd4e461268c8034f5c8564e155c67a6  ", "/d/to dir/f"), 1);
    assert_int_equal(count_lines(&tree->child.out, "9dd4e461268c8034f5c8564e155c67a6  ", "/d/to file"), 1);
    assert_int_equal(lines_of(&tree->child.out), 3);
  }
}

/* Root reads everything: then there is nothing to report. */
static void what_may_not_be_read_is_reported(void **state) {
  tree_t *tree = *state;
  make_file(tree, "good", "x", 1);
  make_file(tree, "locked", "x", 1);
  make_dir(tree, "locked dir");
  make_file(tree, "locked dir/f", "x", 1);
  assert_int_equal(chmod(path_of(tree, "locked"), 0), 0);
  assert_int_equal(chmod(path_of(tree, "locked dir"), 0), 0);
  int readable = access(path_of(tree, "locked"), R_OK) == 0;
  for (int i = 0; i < NMODES; i++) {
    RUN_MD5ALL(tree, "--mode", MODES[i], tree->dir);
    assert_int_equal(tree->child.exit_status, readable ? 0 : 1);
    assert_int_equal(lines_of(&tree->child.out), readable ? 3 : 1);
    assert_int_equal(count_lines(&tree->child.err, "/locked: permission denied", NULL), readable ? 0 : 1);
    assert_int_equal(count_lines(&tree->child.err, "/locked dir: permission denied", NULL), readable ? 0 : 1);
  }
  assert_int_equal(chmod(path_of(tree, "locked dir"), 0777), 0);
}

/* The only worker is busy with a file without end; the walk goes on, and its error about the last argument says that it
 * has found all before. */
static void what_has_become_something_else_since_the_walk_is_reported(void **state) {
  tree_t *tree = *state;
  const char *says = "none: no such file";
  for (int i = 1; i < NMODES; i++) {
    make_sparse(tree, "endless", 64 * GIB);
    make_dir(tree, "d");
    make_many(tree, "d/gone", 1, 1);
    for (int k = 0; k < 4; k++) make_file(tree, (const char *[]){"d/a", "d/b", "d/c", "d/kept"}[k], "x", 1);
    const char *const argv[] = {MD5ALL,
                                "--workers",
                                "1",
                                "--stats",
                                "--mode",
                                MODES[i],
                                path_of(tree, "endless"),
                                path_of(tree, "d"),
                                path_of(tree, "none"),
                                NULL};
    tree->child.argv = argv;
    child_start(&tree->child, &tree->loop);
    while (!tree->child.err.at || !strstr(tree->child.err.at, says)) uv_run(&tree->loop, UV_RUN_ONCE);
    assert_int_equal(unlink(path_of(tree, "d/gone/f0000")), 0);
    assert_int_equal(unlink(path_of(tree, "d/a")), 0);
    make_fifo(tree, "d/a");
    assert_int_equal(unlink(path_of(tree, "d/b")), 0);
    make_dir(tree, "d/b");
    assert_int_equal(unlink(path_of(tree, "d/c")), 0);
    make_link(tree, "kept", "d/c");
    assert_int_equal(truncate(path_of(tree, "endless"), 0), 0);
    child_wait(&tree->child, &tree->loop);

    assert_int_equal(tree->child.exit_status, 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/gone/f0000: no such file", NULL), 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/a: inappropriate file type", NULL), 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/b: illegal operation on a directory", NULL), 1);
    assert_int_equal(count_lines(&tree->child.err, "/d/c: too many symbolic links", NULL), 1);
    assert_int_equal(count_lines(&tree->child.out, "9dd4e461268c8034f5c8564e155c67a6  ", "/d/kept"), 1);
    assert_int_equal(lines_of(&tree->child.out), 2);
    assert_has(&tree->child.err, "6 files found: 2 digested, 4 failed, 0 not done; ");
    child_run(&tree->child, &tree->loop, "rm", "-r", path_of(tree, "d"), path_of(tree, "endless"));
    assert_int_equal(tree->child.exit_status, 0);
  }
}

static void a_result_that_cannot_be_written_is_an_error(void **state) {
  tree_t *tree = *state;
  make_file(tree, "f", "x", 1);
  child_run(&tree->child, &tree->loop, "sh", "-c", "exec \"$2\" \"$1\" >/dev/full", "sh", tree->dir, MD5ALL);
  assert_int_equal(tree->child.exit_status, 1);
  assert_has(&tree->child.err, "md5all: standard output: ");
  child_run(&tree->child, &tree->loop, "sh", "-c", "exec \"$2\" \"$1\" >&-", "sh", tree->dir, MD5ALL);
  assert_int_equal(tree->child.exit_status, 1);
  assert_has(&tree->child.err, "md5all: standard output: ");
}

/* --- what it says -------------------------------------------------------------------------------------------- */

static void stats_show_each_stage_and_that_the_counts_add_up(void **state) {
  tree_t *tree = *state;
  counts_t counts;
  make_many(tree, "d", 3000, 100);
  RUN_MD5ALL(tree, "--stats", tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_int_equal(lines_of(&tree->child.out), 3000);
  assert_int_equal(count_lines(&tree->child.err, "stage ", "failed  dropped"), 1);
  assert_int_equal(count_lines(&tree->child.err, "walk ", " 3000 "), 1);
  assert_int_equal(count_lines(&tree->child.err, "digest ", " 3000      3000      3000       0        0 "), 1);
  assert_int_equal(count_lines(&tree->child.err, "collect ", " 3000         0      3000       0        0 "), 1);
  assert_has(&tree->child.err, "at every stage in = done + failed + dropped\n");
  assert_has(&tree->child.err, "found = digested + failed + not done\n");
  read_counts(tree, &counts);
  assert_int_equal(counts.digested, 3000);
  assert_int_equal(counts.bytes, 300000);
}

static void piped_output_is_plain_and_there_is_no_progress(void **state) {
  tree_t *tree = *state;
  make_sparse(tree, "f", 512 * (INT64_C(1) << 20)); /* long enough for one */
  RUN_MD5ALL(tree, tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_int_equal(tree->child.err.len, 0);
  assert_has_not(&tree->child.out, "\033");
  assert_has_not(&tree->child.out, "\r");
  assert_has(&tree->child.out, "aa559b4e3523a6c931f08f4df52d58f2  ");
}

static void the_pipeline_is_drawn(void **state) {
  tree_t *tree = *state;
  RUN_MD5ALL(tree, "--draw", "--workers", "7");
  assert_int_equal(tree->child.exit_status, 0);
  assert_int_equal(tree->child.err.len, 0);
  assert_string_equal(tree->child.out.at, "md5all\n"
                                          "+--------+    +-------------+    +------------+\n"
                                          "| walk   +--->| digest      +--->| collect    |\n"
                                          "| source |    | work x7     |    | work x1    |\n"
                                          "+--------+    | queue 1024  |    | queue 1024 |\n"
                                          "              | skip errors |    +------------+\n"
                                          "              +-------------+\n");
}

static void help_and_wrong_command_lines(void **state) {
  tree_t *tree = *state;
  static const struct {
    const char *argv[3];
    int exit_status;
    const char *says;
  } ROWS[] = {
      {{"--help", NULL}, 0, "Usage: md5all [OPTION]... DIR..."},
      {{"-h", NULL}, 0, "Usage: md5all [OPTION]... DIR..."},
      {{NULL}, 2, "no directory was given"},
      {{"--", NULL}, 2, "no directory was given"},
      {{"--bogus", "."}, 2, "unknown option '--bogus'; see md5all --help"},
      {{"--modes=serial", "."}, 2, "unknown option '--modes=serial'"},
      {{"--mode", "fast", "."}, 2, "unknown mode 'fast'; there are serial, parallel and bounded"},
      {{"--mode", NULL}, 2, "unknown mode ''"},
      {{"--workers", "0", "."}, 2, "--workers: '0' is not a number from 1 to 512"},
      {{"--workers", "513", "."}, 2, "--workers: '513' is not a number"},
      {{"--workers=-1", "."}, 2, "--workers: '-1' is not a number"},
      {{"--workers=", "."}, 2, "--workers: '' is not a number"},
      {{"--algo=md55", "."}, 2, "OpenSSL has no digest 'md55'"},
      {{"--algo", NULL}, 2, "no value after '--algo'"},
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    RUN_MD5ALL(tree, ROWS[i].argv[0], ROWS[i].argv[1], ROWS[i].argv[2]);
    assert_int_equal(tree->child.exit_status, ROWS[i].exit_status);
    assert_has(ROWS[i].exit_status ? &tree->child.err : &tree->child.out, ROWS[i].says);
    assert_int_equal((ROWS[i].exit_status ? tree->child.out : tree->child.err).len, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      tree_test(each_mode_prints_what_md5sum_does_for_the_files_that_find_names),
      tree_test(names_that_need_it_are_escaped),
      tree_test(paths_are_joined_as_find_joins_them),
      tree_test(any_digest_of_openssl_can_be_asked_for),
      tree_test(an_empty_directory_prints_nothing),
      tree_test(what_cannot_be_read_is_reported_and_the_rest_is_done),
      tree_test(links_are_followed_on_request_and_loops_of_them_reported),
      tree_test(what_may_not_be_read_is_reported),
      tree_test(what_has_become_something_else_since_the_walk_is_reported),
      tree_test(a_result_that_cannot_be_written_is_an_error),
      tree_test(stats_show_each_stage_and_that_the_counts_add_up),
      tree_test(piped_output_is_plain_and_there_is_no_progress),
      tree_test(the_pipeline_is_drawn),
      tree_test(help_and_wrong_command_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
