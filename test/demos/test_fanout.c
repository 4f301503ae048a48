/* SPDX-License-Identifier: MIT
 *
 * What fanout does with its requests. What it does with wrong input is in test_fanout_input.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "world.h"

enum { MANY = 10000, MANY_HANGING = 5000 };

/* --- without a URL ------------------------------------------------------------------------------------------- */

static void without_urls_it_shows_every_outcome_or_says_that_it_has_no_servers(void **state) {
  world_t *world = *state;
  RUN(world, NULL);
#if FANOUT_HAS_SERVERS
  static const char *const OUTCOMES[] = {"  ok  ", "  hedged  ", "  failed  ", "  deadline  ", "  cancelled  "};
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(world->child.err.len, 0);
  for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++)
    assert_true(count_lines(&world->child.out, "http://127.0.0.1:", OUTCOMES[i]) >= 1);
  assert_int_equal(count_lines(&world->child.out, "http://127.0.0.1:", NULL), 12);
  assert_has(&world->child.out, "12 requests: ");
  assert_has(&world->child.out, "ended: ");
#else
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.err, "built without servers of its own");
#endif
}

static void its_own_servers_close_when_the_deadline_comes_first(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "40", "--json");
#if FANOUT_HAS_SERVERS
  assert_int_equal(world->child.exit_status, 0);
  assert_true(json_valid(world->child.out.at));
  assert_has(&world->child.out, "--timeout 40 ms is over");
  assert_took(world, 40, 1000);
#else
  assert_int_equal(world->child.exit_status, 1);
#endif
}

/* --- outcomes ------------------------------------------------------------------------------------------------ */

static void answers_failures_and_the_deadline_each_get_their_row(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "300", url(world, "/fast"), url(world, "/fail"), url(world, "/hang"), url(world, "/half"));
  assert_int_equal(world->child.exit_status, 1);
  assert_int_equal(count_lines(&world->child.out, "/fast  ok ", " 200       5 "), 1);
  assert_int_equal(count_lines(&world->child.out, "/fail  failed ", "HTTP status 500"), 1);
  assert_int_equal(count_lines(&world->child.out, "/hang  deadline ", "--timeout 300 ms is over"), 1);
  assert_int_equal(count_lines(&world->child.out, "/half  deadline ", " 200       5 "), 1);
  assert_has(&world->child.out, "4 requests: 1 ok, 1 failed, 2 deadline; 13 bytes in ");
  assert_has(&world->child.out, "ended: --timeout 300 ms is over");
  assert_took(world, 300, 2000);
}

static void piped_output_is_plain_and_there_is_no_progress(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "300", url(world, "/fast"), url(world, "/hang"));
  assert_has_not(&world->child.out, "\033");
  assert_has_not(&world->child.out, "\r");
  assert_int_equal(world->child.err.len, 0);
  for (size_t i = 0; i < world->child.out.len; i++) assert_true((unsigned char)world->child.out.at[i] < 0x7f);
}

static void a_broken_answer_is_a_failure_with_its_reason(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "5000", url(world, "/cut"), url(world, "/garbage"));
  assert_int_equal(world->child.exit_status, 1);
  assert_int_equal(count_lines(&world->child.out, "/cut ", "failed  "), 1);
  assert_int_equal(count_lines(&world->child.out, "/garbage ", "failed  "), 1);
  assert_has(&world->child.out, "2 requests: 2 failed; 5 bytes in ");
  assert_took(world, 0, 4000);
}

static void all_answered_is_success(void **state) {
  world_t *world = *state;
  RUN(world, url(world, "/fast"), url(world, "/fast"), url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "3 requests: 3 ok; 15 bytes in ");
  assert_has(&world->child.out, "ended: every URL has its result");
  assert_int_equal(world->server.requests, 3);
}

static void a_request_has_a_deadline_of_its_own(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "20000", "--per-request", "150", url(world, "/hang"), url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 1);
  assert_int_equal(count_lines(&world->child.out, "/hang  deadline ", "--per-request 150 ms is over"), 1);
  assert_has(&world->child.out, "ended: every URL has its result");
  assert_took(world, 150, 5000);
}

static void one_at_a_time_each_waits_for_the_one_before(void **state) {
  world_t *world = *state;
  RUN(world, "--concurrency", "1", "--per-request", "100", url(world, "/hang"), url(world, "/hang"),
      url(world, "/fast"));
  assert_has(&world->child.out, "3 requests: 1 ok, 2 deadline");
  assert_took(world, 200, 5000);
}

static void those_whose_turn_never_came_are_in_the_table(void **state) {
  world_t *world = *state;
  RUN(world, "--concurrency", "1", "--timeout", "100", url(world, "/hang"), url(world, "/fast"), url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "3 requests: 3 deadline");
  assert_int_equal(count_lines(&world->child.out, "/fast  deadline ", "     -       0        - "), 2);
  assert_int_equal(world->server.requests, 1);
}

/* --- enough, hedges, replicas -------------------------------------------------------------------------------- */

static void enough_answers_cancel_the_rest(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "20000", "--first", "2", url(world, "/hang"), url(world, "/fast"), url(world, "/hang"),
      url(world, "/fast"));
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "4 requests: 2 ok, 2 cancelled");
  assert_has(&world->child.out, "ended: enough answers: --first 2");
  assert_took(world, 0, 5000);
  assert_int_equal(world->server.abandoned, world->server.hanging);
}

static void a_url_that_stays_silent_is_asked_again_and_the_loser_is_cancelled(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "20000", "--hedge", "50", url(world, "/flaky"));
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(count_lines(&world->child.out, "/flaky  hedged ", "answered when asked again"), 1);
  assert_int_equal(world->server.requests, 2);
  assert_int_equal(world->server.abandoned, 1);
  assert_took(world, 50, 5000);
}

static void a_hedge_asks_the_next_replica(void **state) {
  world_t *world = *state;
  char replicas[128];
  snprintf(replicas, sizeof(replicas), "%s|%s", url(world, "/hang"), url(world, "/fast"));
  RUN(world, "--timeout", "20000", "--hedge=50", replicas);
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(count_lines(&world->child.out, "/fast  hedged ", "replica 2 answered"), 1);
  assert_int_equal(world->server.abandoned, 1);
  assert_took(world, 50, 5000);
}

static void a_loser_is_cancelled_while_the_run_goes_on(void **state) {
  world_t *world = *state;
  char replicas[128];
  snprintf(replicas, sizeof(replicas), "%s|%s", url(world, "/hang"), url(world, "/fast"));
  RUN(world, "--timeout", "1500", "--hedge", "50", replicas, url(world, "/hang"));
  assert_has(&world->child.out, "2 requests: 1 hedged, 1 deadline");
  assert_took(world, 1500, 5000);
  assert_true(world->server.first_abandoned_ns - world->child.began_ns < 1500 * MS_NS);
}

static void no_hedge_is_sent_when_the_first_answers_in_time(void **state) {
  world_t *world = *state;
  RUN(world, "--hedge", "10000", url(world, "/fast"));
  assert_has(&world->child.out, "1 request: 1 ok");
  assert_int_equal(world->server.requests, 1);
  assert_took(world, 0, 5000);
}

static void a_replica_that_failed_is_followed_by_the_next_at_once(void **state) {
  world_t *world = *state;
  char replicas[256];
  snprintf(replicas, sizeof(replicas), "http://127.0.0.1:1/| %s |%s", url(world, "/fail"), url(world, "/fast"));
  RUN(world, replicas);
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(count_lines(&world->child.out, "/fast  hedged ", "replica 3 answered"), 1);
  assert_took(world, 0, 5000);
}

static void hedges_that_hang_too_end_at_the_deadline(void **state) {
  world_t *world = *state;
  RUN(world, "--timeout", "200", "--hedge", "20", url(world, "/hang"));
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "1 request: 1 deadline");
  assert_int_equal(world->server.requests, 2);
  assert_took(world, 200, 3000);
}

/* --- JSON ---------------------------------------------------------------------------------------------------- */

static void the_json_document_is_valid_and_complete(void **state) {
  world_t *world = *state;
  char odd[160];
  snprintf(odd, sizeof(odd), "%s", url(world, "/fast?a=%22&b=\\&c=\"d\""));
  RUN(world, "--json", "--timeout", "200", "--hedge", "50", odd, url(world, "/fail"), url(world, "/hang"));
  assert_int_equal(world->child.exit_status, 1);
  if (!json_valid(world->child.out.at)) fail_msg("not JSON: %s", world->child.out.at);
  assert_has(&world->child.out,
             "\"totals\":{\"requests\":3,\"ok\":1,\"hedged\":0,\"failed\":1,\"deadline\":1,\"cancelled\":0}");
  assert_has(&world->child.out, "\"outcome\":\"deadline\",\"http_status\":null,\"bytes\":0,\"attempts\":2,");
  assert_has(&world->child.out, "\"why\":\"--timeout 200 ms is over\"");
  assert_has(&world->child.out, "c=\\\"d\\\"");
}

static void the_checker_of_json_knows_right_from_wrong(void **state) {
  (void)state;
  static const char *const RIGHT[] = {"{}", " [ ] ", "{\"a\":[1,-0.5e+3,null,true,\"\\u00e9\\n\"]}\n", "0"};
  static const char *const WRONG[] = {
      "",      "{", "[1,]", "{\"a\"}",    "{a:1}",  "01",      "1.",     "\"", "[1] x", "\"\\x\"", "nul",
      "[1 2]", "-", "+1",   "{\"a\":1,}", "\"\n\"", "\"\\u12", "[\"a\"", ".5", "tru e", "{,}",     "\033[0m{}"};
  for (size_t i = 0; i < sizeof(RIGHT) / sizeof(RIGHT[0]); i++)
    if (!json_valid(RIGHT[i])) fail_msg("refused: %s", RIGHT[i]);
  for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
    if (json_valid(WRONG[i])) fail_msg("accepted: %s", WRONG[i]);
}

/* --- Ctrl-C -------------------------------------------------------------------------------------------------- */

static void interrupt_child(server_t *server) {
  world_t *world = container_of(server, world_t, server);
  server->on_hang = NULL;
  child_interrupt(&world->child);
}

static void ctrl_c_cancels_and_prints_what_there_is(void **state) {
  world_t *world = *state;
  world->server.on_hang = interrupt_child;
  RUN(world, "--timeout", "20000", "--concurrency", "1", url(world, "/fast"), url(world, "/hang"), url(world, "/fast"));
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.err, "interrupted");
  assert_has(&world->child.out, "3 requests: 1 ok, 2 cancelled");
  assert_has(&world->child.out, "ended: interrupted (Ctrl-C)");
  assert_took(world, 0, 1000);
  assert_int_equal(world->server.abandoned, 1);
}

/* One URL on each line, n times. */
static char *many_lines(const char *line, size_t n) {
  size_t len = strlen(line);
  char *text = malloc(n * (len + 1) + 1);
  assert_non_null(text);
  for (size_t i = 0; i < n; i++) {
    memcpy(text + i * (len + 1), line, len);
    text[i * (len + 1) + len] = '\n';
  }
  text[n * (len + 1)] = '\0';
  return text;
}

/* Nobody reads the table, which is larger than a pipe: the first Ctrl-C leads into a write that blocks for ever. */
static void a_second_ctrl_c_ends_it_at_once_even_while_it_cannot_write(void **state) {
  world_t *world = *state;
  char *lines = many_lines(url(world, "/hang"), MANY_HANGING);
  world->server.on_hang = interrupt_child;
  world->child.input = lines;
  world->child.hold_output = 1;
  world->child.interrupt_at = "interrupted";
  RUN(world, "--timeout", "60000", "-");
  free(lines);
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, 130);
  assert_took(world, 0, 5000);
}

/* --- many ---------------------------------------------------------------------------------------------------- */

static void run_many(world_t *world, const char *shell, size_t n) {
  char *lines = many_lines(url(world, "/fast"), n);
  char totals[128];
  world->child.input = lines;
  child_run(&world->child, &world->loop, "/bin/sh", "-c", shell, "sh", FANOUT, "--json", "--timeout", "100000", "-");
  free(lines);
  assert_int_equal(world->child.exit_status, 0);
  snprintf(totals, sizeof(totals), "\"totals\":{\"requests\":%zu,\"ok\":%zu,\"hedged\":0,\"failed\":0,\"deadline\":0,",
           n, n);
  assert_has(&world->child.out, totals);
  assert_int_equal(count_lines(&world->child.out, "\"outcome\":\"ok\"", NULL), n);
  assert_true(json_valid(world->child.out.at));
  assert_int_equal(world->server.requests, n);
}

static void ten_thousand_urls_are_all_answered_with_64_descriptors(void **state) {
  world_t *world = *state;
  run_many(world, "ulimit -n 64; exec \"$@\"", MANY);
  assert_has(&world->child.err, "9 at once, not 64: the limit is 64 open files");
}

/* One after the other, so fewer of them. */
static void with_hardly_any_descriptors_they_are_asked_one_by_one(void **state) {
  world_t *world = *state;
  run_many(world, "ulimit -n 20; exec \"$@\"", MANY / 10);
  assert_has(&world->child.err, "1 at once, not 64: the limit is 20 open files");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      world_test(without_urls_it_shows_every_outcome_or_says_that_it_has_no_servers),
      world_test(its_own_servers_close_when_the_deadline_comes_first),
      world_test(answers_failures_and_the_deadline_each_get_their_row),
      world_test(piped_output_is_plain_and_there_is_no_progress),
      world_test(a_broken_answer_is_a_failure_with_its_reason),
      world_test(all_answered_is_success),
      world_test(a_request_has_a_deadline_of_its_own),
      world_test(one_at_a_time_each_waits_for_the_one_before),
      world_test(those_whose_turn_never_came_are_in_the_table),
      world_test(enough_answers_cancel_the_rest),
      world_test(a_url_that_stays_silent_is_asked_again_and_the_loser_is_cancelled),
      world_test(a_hedge_asks_the_next_replica),
      world_test(a_loser_is_cancelled_while_the_run_goes_on),
      world_test(no_hedge_is_sent_when_the_first_answers_in_time),
      world_test(a_replica_that_failed_is_followed_by_the_next_at_once),
      world_test(hedges_that_hang_too_end_at_the_deadline),
      world_test(the_json_document_is_valid_and_complete),
      cmocka_unit_test(the_checker_of_json_knows_right_from_wrong),
      world_test(ctrl_c_cancels_and_prints_what_there_is),
      world_test(a_second_ctrl_c_ends_it_at_once_even_while_it_cannot_write),
      world_test(ten_thousand_urls_are_all_answered_with_64_descriptors),
      world_test(with_hardly_any_descriptors_they_are_asked_one_by_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
