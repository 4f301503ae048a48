/* SPDX-License-Identifier: MIT
 *
 * What fanout says to wrong input, and where it takes URLs from.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "world.h"

#define SERVERLESS "http://127.0.0.1:1/"

/* --- the command line ---------------------------------------------------------------------------------------- */

static void help_tells_all_options(void **state) {
  world_t *world = *state;
  static const char *const OPTIONS[] = {"--timeout MS", "--per-request MS", "--concurrency N",
                                        "--first N",    "--hedge MS",       "--file FILE",
                                        "--json",       "--help",           "Exit status"};
  RUN(world, "--help");
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(world->child.err.len, 0);
  for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(OPTIONS[0]); i++) assert_has(&world->child.out, OPTIONS[i]);
}

/* Each is refused with exit status 2, one line on stderr, and nothing on stdout. */
static void wrong_command_lines_are_refused_with_one_clear_line(void **state) {
  world_t *world = *state;
  static const struct {
    const char *args[2];
    const char *says;
  } ROWS[] = {
      {{"--bogus", NULL}, "unknown option '--bogus'; see fanout --help"},
      {{"-x", NULL}, "unknown option '-x'"},
      {{"--timeoutx", "3"}, "unknown option '--timeoutx'"},
      {{"--timeout", NULL}, "no value after '--timeout'"},
      {{"--timeout", "0"}, "--timeout: '0' is not a number from 1 to 86400000"},
      {{"--timeout", "1s"}, "--timeout: '1s' is not a number"},
      {{"--timeout", ""}, "--timeout: '' is not a number"},
      {{"--timeout=-5", NULL}, "--timeout: '-5' is not a number"},
      {{"--timeout", "99999999999"}, "--timeout: '99999999999' is not a number"},
      {{"--per-request", "0"}, "--per-request: '0' is not a number"},
      {{"--hedge", "0x10"}, "--hedge: '0x10' is not a number"},
      {{"--concurrency", "0"}, "--concurrency: '0' is not a number from 1 to 10000"},
      {{"--concurrency", "-1"}, "--concurrency: '-1' is not a number from 1 to 10000"},
      {{"--concurrency", "10001"}, "--concurrency: '10001' is not a number from 1 to 10000"},
      {{"--concurrency", "18446744073709551617"}, "--concurrency: '18446744073709551617' is not a number"},
      {{"--first", "0"}, "--first: '0' is not a number"},
      {{"--first=2", SERVERLESS}, "--first: 2 answers cannot come from 1 URL(s)"},
      {{"http:/one-slash", NULL}, "not a URL: 'http:/one-slash'"},
      {{"http://", NULL}, "not a URL: 'http://'"},
      {{"http://host:port/", NULL}, "not a URL: 'http://host:port/'"},
      {{"http://[::1/", NULL}, "not a URL: 'http://[::1/'"},
      {{"ftp://host/", NULL}, "it does not begin with http:// or https://; write it as http://host/path"},
      {{"http://host/a b", NULL}, "there is a blank or a character that is not ASCII in it (percent-encode it)"},
      {{"http://host/\xc3\xa9", NULL}, "percent-encode it"},
      {{SERVERLESS "|", NULL}, "not a URL: ''"},
      {{SERVERLESS "||" SERVERLESS, NULL}, "not a URL: ''"},
      {{"--file", NULL}, "no value after '--file'"},
      {{"--file", "/nowhere/list"}, "/nowhere/list: No such file or directory; give --file"},
      {{"--file", "/dev/null"}, "/dev/null: no URL in it; write one on each line"},
      {{"--file", "/"}, "/: "},
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    RUN(world, ROWS[i].args[0], ROWS[i].args[1]);
    if (world->child.exit_status != 2) fail_msg("%s: exit %d", ROWS[i].says, (int)world->child.exit_status);
    assert_int_equal(world->child.out.len, 0);
    assert_has(&world->child.err, ROWS[i].says);
    assert_int_equal(count_lines(&world->child.err, "fanout: ", NULL), 1);
  }
}

/* --- lists --------------------------------------------------------------------------------------------------- */

static void standard_input_is_a_list_with_comments_and_blank_lines(void **state) {
  world_t *world = *state;
  char lines[512];
  snprintf(lines, sizeof(lines), "# a comment\n\n  %s  \r\n\t\n%s | %s\n%s", url(world, "/fast"), url(world, "/fail"),
           url(world, "/fast"), url(world, "/fast"));
  world->child.input = lines;
  RUN(world, "-");
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "3 requests: 2 ok, 1 hedged; 15 bytes in ");
}

static void a_wrong_line_is_named_by_its_number(void **state) {
  world_t *world = *state;
  world->child.input = "# one\n" SERVERLESS "\nnonsense\n" SERVERLESS "\n";
  RUN(world, "-");
  assert_int_equal(world->child.exit_status, 2);
  assert_has(&world->child.err, "fanout: standard input, line 3: not a URL: 'nonsense'");
}

static void an_empty_list_is_refused(void **state) {
  world_t *world = *state;
  static const char *const EMPTY[] = {"", "\n\n", "# nothing\n", "   "};
  for (size_t i = 0; i < sizeof(EMPTY) / sizeof(EMPTY[0]); i++) {
    world->child.input = EMPTY[i];
    RUN(world, "--file", "-");
    assert_int_equal(world->child.exit_status, 2);
    assert_has(&world->child.err, "standard input: no URL in it; write one on each line");
  }
}

static void a_file_and_arguments_go_together(void **state) {
  world_t *world = *state;
  char path[] = "fanout-list-XXXXXX";
  uv_fs_t req;
  assert_int_equal(uv_fs_mkdtemp(NULL, &req, path, NULL), 0);
  char dir[64], file[96];
  snprintf(dir, sizeof(dir), "%s", req.path);
  uv_fs_req_cleanup(&req);
  snprintf(file, sizeof(file), "%s/list", dir);
  FILE *out = fopen(file, "wb");
  assert_non_null(out);
  fprintf(out, "%s\n%s\n", url(world, "/fast"), url(world, "/fast"));
  assert_int_equal(fclose(out), 0);
  RUN(world, "--file", file, url(world, "/fail"));
  assert_int_equal(remove(file), 0);
  assert_int_equal(uv_fs_rmdir(NULL, &req, dir, NULL), 0);
  uv_fs_req_cleanup(&req);
  assert_has(&world->child.out, "3 requests: 2 ok, 1 failed");
}

static void a_very_long_url_is_asked_and_shown_without_its_middle(void **state) {
  world_t *world = *state;
  char *lines = malloc(6000);
  assert_non_null(lines);
  int n = snprintf(lines, 6000, "%s?", url(world, "/fast"));
  memset(lines + n, 'a', 5000);
  memcpy(lines + n + 5000, "zzz\n", sizeof("zzz\n"));
  world->child.input = lines;
  RUN(world, "-");
  free(lines);
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "...aaaaaaaaaaaaazzz  ok ");
}

/* --- servers that cannot be reached -------------------------------------------------------------------------- */

static void a_refused_connection_is_a_failure(void **state) {
  world_t *world = *state;
  RUN(world, SERVERLESS, url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 1);
  assert_int_equal(count_lines(&world->child.out, SERVERLESS, "connection refused"), 1);
  assert_has(&world->child.out, "2 requests: 1 ok, 1 failed");
  assert_took(world, 0, 5000);
}

/* .invalid never resolves (RFC 6761); a resolver that cannot reach its name server may take its time, and then the
 * deadline comes. */
static void a_name_that_does_not_resolve_costs_the_deadline_at_most(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "1500", "http://no-such-host.invalid/", url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 1);
  size_t failed = count_lines(&world->child.out, "no-such-host.invalid", "failed  ");
  size_t late = count_lines(&world->child.out, "no-such-host.invalid", "deadline  ");
  assert_int_equal(failed + late, 1);
  if (failed) assert_has(&world->child.out, "resolve");
  assert_int_equal(count_lines(&world->child.out, "/fast ", "ok  "), 1);
  assert_took(world, 0, 3000);
}

static void ten_thousand_refused_connections_are_all_accounted_for(void **state) {
  world_t *world = *state;
  size_t len = strlen(SERVERLESS "\n");
  char *lines = malloc(10000 * len + 1);
  assert_non_null(lines);
  for (size_t i = 0; i < 10000; i++) memcpy(lines + i * len, SERVERLESS "\n", len);
  lines[10000 * len] = '\0';
  world->child.input = lines;
  child_run(&world->child, &world->loop, "/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh", FANOUT, "-");
  free(lines);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "10000 requests: 10000 failed; 0 bytes in ");
  assert_int_equal(count_lines(&world->child.out, SERVERLESS, "connection refused"), 10000);
}

/* --- output that cannot be written --------------------------------------------------------------------------- */

static void an_output_that_is_closed_is_an_error(void **state) {
  world_t *world = *state;
  child_run(&world->child, &world->loop, "/bin/sh", "-c", "exec \"$@\" >&-", "sh", FANOUT, url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.err, "fanout: the result could not be written to standard output");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      world_test(help_tells_all_options),
      world_test(wrong_command_lines_are_refused_with_one_clear_line),
      world_test(standard_input_is_a_list_with_comments_and_blank_lines),
      world_test(a_wrong_line_is_named_by_its_number),
      world_test(an_empty_list_is_refused),
      world_test(a_file_and_arguments_go_together),
      world_test(a_very_long_url_is_asked_and_shown_without_its_middle),
      world_test(a_refused_connection_is_a_failure),
      world_test(a_name_that_does_not_resolve_costs_the_deadline_at_most),
      world_test(ten_thousand_refused_connections_are_all_accounted_for),
      world_test(an_output_that_is_closed_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
