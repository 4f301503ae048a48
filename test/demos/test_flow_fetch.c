/* SPDX-License-Identifier: MIT
 *
 * fetchall, against the server of the tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_output.h"
#include "world.h"

enum { LINE = 400 };

#define FETCH(world, ...) child_run(&(world)->child, &(world)->loop, FETCHALL, __VA_ARGS__)

/* A line of output: its fields. */
typedef struct line_s {
  char text[LINE];
  const char *status, *bytes, *ms, *url, *why;
} line_t;

/* Line i, from 0; asserts that it is there and has five fields. */
static void get_line(const world_t *world, size_t i, line_t *line) {
  const char *at = world->child.out.at;
  char *field;
  while (at && i-- > 0) at = (at = strchr(at, '\n')) ? at + 1 : NULL;
  assert_true(at && *at);
  snprintf(line->text, sizeof(line->text), "%.*s", (int)strcspn(at, "\n"), at);
  const char **fields[] = {&line->status, &line->bytes, &line->ms, &line->url, &line->why};
  field = line->text;
  for (int f = 0; f < 5; f++) {
    *fields[f] = field;
    field += strcspn(field, "\t");
    assert_int_equal(*field, f < 4 ? '\t' : '\0');
    if (f < 4) *field++ = '\0';
  }
}

/* Line i is this; why NULL: whatever it says, but something. */
static void assert_line(const world_t *world, size_t i, const char *status, const char *bytes, const char *url,
                        const char *why) {
  line_t line;
  get_line(world, i, &line);
  assert_string_equal(line.status, status);
  assert_string_equal(line.bytes, bytes);
  assert_string_equal(line.url, url);
  if (why)
    assert_string_equal(line.why, why);
  else
    assert_true(*line.why);
  assert_true(strtod(line.ms, NULL) >= 0);
}

static size_t lines_of(const text_t *text) { return text->len ? count_lines(text, "", NULL) : 0; }

static void assert_ended(const world_t *world, int exit_status, size_t lines) {
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, exit_status);
  assert_int_equal(lines_of(&world->child.out), lines);
}

/* --- what it prints --------------------------------------------------------------------------- */

static void every_url_has_its_line_and_all_fetched_is_success(void **state) {
  world_t *world = *state;
  const char *a = url(world, "/fast"), *b = url(world, "/b"), *c = url(world, "/fast");
  FETCH(world, a, b, c);
  assert_ended(world, 0, 3);
  assert_line(world, 0, "200", "5", a, "");
  assert_line(world, 1, "200", "5", b, "");
  assert_line(world, 2, "200", "5", c, "");
  assert_int_equal(world->server.requests, 3);
  assert_int_equal(world->child.err.len, 0);
}

static void failures_do_not_stop_the_rest_and_are_exit_status_1(void **state) {
  world_t *world = *state;
  const char *fast = url(world, "/fast"), *error = url(world, "/fail"), *cut = url(world, "/cut");
  const char *garbage = url(world, "/garbage"), *nobody = "http://127.0.0.1:1/", *what = "what://is.this/";
  FETCH(world, error, cut, garbage, nobody, what, fast);
  assert_ended(world, 1, 6);
  assert_line(world, 0, "500", "3", error, "");
  assert_line(world, 1, "200", "5", cut, NULL);
  assert_line(world, 2, "-", "0", garbage, NULL);
  assert_line(world, 3, "-", "0", nobody, "connection refused");
  assert_line(world, 4, "-", "0", what, NULL);
  assert_line(world, 5, "200", "5", fast, "");
  assert_int_equal(world->child.err.len, 0);
}

static void output_keeps_the_order_of_the_input(void **state) {
  world_t *world = *state;
  const char *slow = url(world, "/hang"), *fast = url(world, "/fast");
  FETCH(world, "--timeout-ms", "300", "--workers", "3", slow, fast, fast, fast, fast, slow, fast);
  assert_ended(world, 1, 7);
  for (size_t i = 0; i < 7; i++) {
    if (i == 0 || i == 5)
      assert_line(world, i, "-", "0", slow, "connection timed out");
    else
      assert_line(world, i, "200", "5", fast, "");
  }
  assert_took(world, 300, 10000);
}

static void piped_output_is_plain(void **state) {
  world_t *world = *state;
  FETCH(world, url(world, "/fast"), url(world, "/fail"));
  assert_has_not(&world->child.out, "\033");
  assert_has_not(&world->child.out, "\r");
  assert_has_not(&world->child.out, "URL");
  assert_int_equal(world->child.err.len, 0);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void a_transfer_that_takes_too_long_is_aborted(void **state) {
  world_t *world = *state;
  const char *hang = url(world, "/hang"), *half = url(world, "/half");
  FETCH(world, "--timeout-ms", "150", hang, half);
  assert_ended(world, 1, 2);
  assert_line(world, 0, "-", "0", hang, "connection timed out");
  assert_line(world, 1, "200", "5", half, "connection timed out");
  assert_took(world, 150, 10000);
  assert_int_equal(world->server.hanging, 2);
}

static void the_time_of_each_counts_from_its_own_start(void **state) {
  world_t *world = *state;
  const char *hang = url(world, "/hang");
  line_t line;
  FETCH(world, "--workers", "1", "--timeout-ms", "100", hang, hang, hang);
  assert_ended(world, 1, 3);
  for (size_t i = 0; i < 3; i++) {
    get_line(world, i, &line);
    assert_true(strtod(line.ms, NULL) >= 99.9); /* it is rounded */
  }
  assert_took(world, 300, 20000);
}

typedef struct peak_s {
  size_t now, most;
} peak_t;

static void on_hang(server_t *server) {
  peak_t *peak = server->data;
  peak->now = server->hanging - server->abandoned;
  if (peak->now > peak->most) peak->most = peak->now;
}

static void so_many_are_under_way_at_once_and_no_more(void **state) {
  world_t *world = *state;
  const char *hang = url(world, "/hang");
  peak_t peak = {0, 0};
  world->server.data = &peak;
  world->server.on_hang = on_hang;
  FETCH(world, "--workers", "3", "--timeout-ms", "400", hang, hang, hang, hang, hang, hang);
  assert_ended(world, 1, 6);
  assert_took(world, 800, 20000);   /* two rounds */
  assert_in_range(peak.most, 1, 4); /* a hang-up may be on its way while the next one comes */
}

static void the_rate_spreads_the_transfers(void **state) {
  world_t *world = *state;
  const char *fast = url(world, "/fast");
  FETCH(world, "--rate", "20", fast, fast, fast, fast, fast, fast);
  assert_ended(world, 0, 6);
  assert_took(world, 5 * 1000 / 20, 20000); /* one is free */
}

/* --- standard input --------------------------------------------------------------------------- */

static void urls_come_from_the_lines_of_standard_input(void **state) {
  world_t *world = *state;
  const char *fast = url(world, "/fast"), *error = url(world, "/fail");
  char input[512];
  snprintf(input, sizeof(input), "\n# these are fetched:\n%s\n  %s \r\n   \n#%s\n%s", fast, error, fast, fast);
  world->child.input = input;
  FETCH(world, "--workers", "2");
  assert_ended(world, 1, 3);
  assert_line(world, 0, "200", "5", fast, "");
  assert_line(world, 1, "500", "3", error, "");
  assert_line(world, 2, "200", "5", fast, "");
}

/* More than the block that it is read by, and more than the queues hold. */
static void there_may_be_many_lines(void **state) {
  world_t *world = *state;
  enum { MANY = 400, FILL = 300 };
  text_t input = {NULL, 0, 0};
  char filler[FILL], line[LINE];
  memset(filler, 'x', sizeof(filler));
  for (int i = 0; i < MANY; i++) {
    int len = snprintf(line, sizeof(line), "%s%d?%.*s\n", url(world, "/"), i, FILL, filler);
    text_add(&input, line, (size_t)len);
  }
  assert_true(input.len > 65536);
  world->child.input = input.at;
  FETCH(world, "--workers", "16");
  assert_ended(world, 0, MANY);
  for (size_t i = 0; i < MANY; i++) {
    line_t got;
    get_line(world, i, &got);
    assert_int_equal(strtol(strrchr(got.url, '/') + 1, NULL, 10), i);
  }
  assert_int_equal(world->server.requests, MANY);
  text_free(&input);
}

static void a_line_without_end_is_an_error(void **state) {
  world_t *world = *state;
  text_t input = {NULL, 0, 0};
  const char *fast = url(world, "/fast");
  text_add(&input, fast, strlen(fast));
  text_add(&input, "\n", 1);
  for (int i = 0; i < 7000; i++) text_add(&input, "endlessly-", 10);
  world->child.input = input.at;
  FETCH(world, NULL);
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.err, "fetchall: standard input: message too long\n");
  text_free(&input);
}

static void no_url_at_all_is_fine(void **state) {
  world_t *world = *state;
  FETCH(world, NULL); /* its standard input is /dev/null */
  assert_ended(world, 0, 0);
  world->child.input = "\n\n";
  FETCH(world, NULL);
  assert_ended(world, 0, 0);
  assert_int_equal(world->child.err.len, 0);
}

static void standard_input_may_be_a_file(void **state) {
  world_t *world = *state;
  const char *fast = url(world, "/fast");
  static const char FILE_SCRIPT[] = "f=$(mktemp) && printf '%s\\n# no\\n%s' \"$2\" \"$2\" >\"$f\" && \"$1\" <\"$f\"; "
                                    "s=$?; rm -f \"$f\"; exit $s";
  child_run(&world->child, &world->loop, "/bin/sh", "-c", FILE_SCRIPT, "sh", FETCHALL, fast);
  assert_ended(world, 0, 2);
  assert_line(world, 0, "200", "5", fast, "");
  assert_line(world, 1, "200", "5", fast, "");
  child_run(&world->child, &world->loop, "/bin/sh", "-c", "exec \"$1\" </", "sh", FETCHALL);
  assert_ended(world, 1, 0);
  assert_has(&world->child.err, "fetchall: standard input: bad file descriptor");
}

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

/* What it said it had done when it was interrupted. */
static void assert_interrupted(const world_t *world, size_t *fetched, size_t *failed, size_t *given_up) {
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, 1);
  assert_non_null(world->child.err.at);
  assert_int_equal(sscanf(world->child.err.at, "fetchall: interrupted: %zu fetched, %zu failed, %zu given up", fetched,
                          failed, given_up),
                   3);
  assert_int_equal(lines_of(&world->child.out), *fetched + *failed);
}

static void ctrl_c_ends_it_with_counts(void **state) {
  world_t *world = *state;
  const char *fast = url(world, "/fast"), *hang = url(world, "/hang");
  size_t fetched, failed, given_up;
  const char *const argv[] = {FETCHALL, "--workers", "1", fast, hang, fast, fast, NULL};
  world->child.argv = argv;
  child_start(&world->child, &world->loop);
  while (!world->child.out.len || !world->server.hanging) uv_run(&world->loop, UV_RUN_ONCE);
  child_interrupt(&world->child);
  child_wait(&world->child, &world->loop);
  assert_interrupted(world, &fetched, &failed, &given_up);
  assert_line(world, 0, "200", "5", fast, "");
  assert_int_equal(fetched, 1);
  assert_int_equal(failed, 0);
  assert_int_equal(given_up, 3);
  assert_int_equal(world->server.requests, 2);
}

/* The step at which it comes is swept over the run. The last URL is what keeps it from its end. */
static void whenever_ctrl_c_comes_the_counts_add_up(void **state) {
  world_t *world = *state;
  enum { URLS = 24 };
  const char *argv[URLS + 4] = {FETCHALL, "--workers", "4"};
  const char *fast = url(world, "/fast"), *error = url(world, "/fail");
  for (size_t i = 0; i + 1 < URLS; i++) argv[3 + i] = i % 8 == 5 ? error : fast;
  argv[2 + URLS] = url(world, "/hang");
  argv[3 + URLS] = NULL;
  for (size_t step = 1; step <= URLS; step++) {
    size_t fetched = 0, failed = 0, given_up = 0;
    world->server.requests = 0;
    world->child.argv = argv;
    child_start(&world->child, &world->loop);
    while (world->server.requests < step) uv_run(&world->loop, UV_RUN_ONCE);
    child_interrupt(&world->child);
    child_wait(&world->child, &world->loop);
    assert_interrupted(world, &fetched, &failed, &given_up);
    assert_int_equal(fetched + failed + given_up, URLS);
  }
}

static void ctrl_c_ends_it_while_it_waits_for_standard_input(void **state) {
  world_t *world = *state;
  size_t fetched, failed, given_up;
  static const char SCRIPT[] = "d=$(mktemp -d) && mkfifo \"$d/f\" && exec 3<>\"$d/f\" && rm -r \"$d\" && "
                               "echo \"$2\" >&3 && exec \"$1\" <&3";
  const char *const argv[] = {"/bin/sh", "-c", SCRIPT, "sh", FETCHALL, url(world, "/fast"), NULL};
  world->child.argv = argv;
  child_start(&world->child, &world->loop);
  while (!world->child.out.len) uv_run(&world->loop, UV_RUN_ONCE);
  child_interrupt(&world->child);
  child_wait(&world->child, &world->loop);
  assert_interrupted(world, &fetched, &failed, &given_up);
  assert_int_equal(fetched, 1);
  assert_int_equal(failed + given_up, 0);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void output_that_cannot_be_written_ends_it(void **state) {
  world_t *world = *state;
  static const char SCRIPT[] = "exec \"$@\" 1</dev/null"; /* open for reading */
  child_run(&world->child, &world->loop, "/bin/sh", "-c", SCRIPT, "sh", FETCHALL, url(world, "/fast"),
            url(world, "/hang"));
  assert_ended(world, 1, 0);
  assert_string_equal(world->child.err.at, "fetchall: i/o error\n");
  assert_took(world, 0, 9000); /* it did not wait for the second */
}

static void it_is_drawn_and_not_run(void **state) {
  world_t *world = *state;
  FETCH(world, "--draw", "--rate", "5", "--timeout-ms", "250", "--workers", "7", url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(world->server.requests, 0);
  assert_has(&world->child.out, "fetchall\n");
  assert_int_equal(count_lines(&world->child.out, "│ urls", "►│ print"), 1);
  assert_has(&world->child.out, "│ async x7 ");
  assert_has(&world->child.out, "│ ordered ");
  assert_has(&world->child.out, "│ limit 5/s ");
  assert_has(&world->child.out, "│ timeout 250 ms ");
}

static void its_statistics_go_to_standard_error(void **state) {
  world_t *world = *state;
  table_row_t row;
  FETCH(world, "--stats", url(world, "/fast"), url(world, "/fail"), url(world, "/fast"));
  assert_ended(world, 1, 3);
  table_row(&world->child.err, "urls", &row);
  assert_int_equal(row.out, 3);
  table_row(&world->child.err, "fetch", &row);
  assert_int_equal(row.in, 3);
  assert_int_equal(row.done, 3);
  assert_int_equal(row.out, 3);
  table_row(&world->child.err, "print", &row);
  assert_int_equal(row.done, 3);
}

static void help_and_wrong_command_lines(void **state) {
  world_t *world = *state;
  static const struct {
    const char *argv[5];
    int exit_status;
    const char *says;
  } ROWS[] = {
      {{FETCHALL, "--help"}, 0, "Usage: fetchall"},
      {{FETCHALL, "--bogus"}, 2, "'--bogus'; see fetchall --help"},
      {{FETCHALL, ""}, 2, "''; see fetchall --help"},
      {{FETCHALL, "--workers"}, 2, "'--workers'; see fetchall --help"},
      {{FETCHALL, "--workers", "0"}, 2, "'--workers'; see"},
      {{FETCHALL, "--workers", "1001"}, 2, "'--workers'; see"},
      {{FETCHALL, "--timeout-ms", "-1"}, 2, "'--timeout-ms'; see"},
      {{FETCHALL, "--timeout-ms", "86400001"}, 2, "'--timeout-ms'; see"},
      {{FETCHALL, "--rate", "fast"}, 2, "'--rate'; see"},
      {{FETCHALL, "--rate", "99999999999999999999"}, 2, "'--rate'; see"},
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    RUN_ARGV(world, ROWS[i].argv);
    assert_int_equal(world->child.exit_status, ROWS[i].exit_status);
    assert_has(ROWS[i].exit_status ? &world->child.err : &world->child.out, ROWS[i].says);
    assert_int_equal(ROWS[i].exit_status ? world->child.out.len : world->child.err.len, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      world_test(every_url_has_its_line_and_all_fetched_is_success),
      world_test(failures_do_not_stop_the_rest_and_are_exit_status_1),
      world_test(output_keeps_the_order_of_the_input),
      world_test(piped_output_is_plain),
      world_test(a_transfer_that_takes_too_long_is_aborted),
      world_test(the_time_of_each_counts_from_its_own_start),
      world_test(so_many_are_under_way_at_once_and_no_more),
      world_test(the_rate_spreads_the_transfers),
      world_test(urls_come_from_the_lines_of_standard_input),
      world_test(there_may_be_many_lines),
      world_test(a_line_without_end_is_an_error),
      world_test(no_url_at_all_is_fine),
      world_test(standard_input_may_be_a_file),
      world_test(ctrl_c_ends_it_with_counts),
      world_test(whenever_ctrl_c_comes_the_counts_add_up),
      world_test(ctrl_c_ends_it_while_it_waits_for_standard_input),
      world_test(output_that_cannot_be_written_ends_it),
      world_test(it_is_drawn_and_not_run),
      world_test(its_statistics_go_to_standard_error),
      world_test(help_and_wrong_command_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
