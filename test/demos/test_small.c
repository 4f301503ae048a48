/* SPDX-License-Identifier: MIT
 *
 * The small demos: what they print and how they end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define RUN_DEMO(world, ...) child_run(&(world)->child, &(world)->loop, __VA_ARGS__)

/* The number in "word after N ms". */
static long moment(const world_t *world, const char *word) {
  const char *at = strstr(world->child.out.at ? world->child.out.at : "", word);
  assert_non_null(at);
  return strtol(at + strlen(word), NULL, 10);
}

/* --- search_timeout ------------------------------------------------------------------------------------------ */

static void the_search_is_answered_at_the_deadline_and_released_when_it_is_through(void **state) {
  world_t *world = *state;
  RUN_DEMO(world, SEARCH_TIMEOUT, NULL);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "failed, the deadline has passed");
  assert_has(&world->child.out, "a late result, dropped");
  assert_in_range(moment(world, "answered after "), 100, 180 * UVF_TEST_SLOWDOWN);
  assert_in_range(moment(world, "released after "), 200, 400 * UVF_TEST_SLOWDOWN);
  assert_true(moment(world, "answered after ") < moment(world, "released after "));
}

static void a_search_that_is_fast_enough_succeeds(void **state) {
  world_t *world = *state;
  RUN_DEMO(world, SEARCH_TIMEOUT, "--search", "50", "--timeout", "20000");
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "found the record");
  assert_has(&world->child.out, "the result had been used");
  assert_in_range(moment(world, "answered after "), 50, 10000);
}

static void a_search_that_looks_at_its_context_gives_up_early(void **state) {
  world_t *world = *state;
  RUN_DEMO(world, SEARCH_TIMEOUT, "--look", "--search", "20000", "--timeout", "50");
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "the search had given up");
  assert_in_range(moment(world, "released after "), 50, 10000);
}

/* --- generator ----------------------------------------------------------------------------------------------- */

static void five_numbers_are_taken_and_nothing_is_left(void **state) {
  world_t *world = *state;
  RUN_DEMO(world, GENERATOR, NULL);
  assert_int_equal(world->child.exit_status, 0);
  assert_string_equal(world->child.out.at, "1\n2\n3\n4\n5\ngenerator: cancelled\n"
                                           "left: 0 contexts beside the root, 0 deadlines, 0 operations\n");
}

static void any_number_can_be_taken(void **state) {
  world_t *world = *state;
  RUN_DEMO(world, GENERATOR, "--take", "1000");
  assert_int_equal(world->child.exit_status, 0);
  assert_has(&world->child.out, "\n999\n1000\ngenerator: cancelled\nleft: 0 contexts");
}

/* --- both ---------------------------------------------------------------------------------------------------- */

static void help_and_wrong_command_lines(void **state) {
  world_t *world = *state;
  static const struct {
    const char *argv[3];
    int exit_status;
    const char *says;
  } ROWS[] = {
      {{SEARCH_TIMEOUT, "--help", NULL}, 0, "Usage: search_timeout"},
      {{SEARCH_TIMEOUT, "--bogus", NULL}, 2, "unknown argument '--bogus'"},
      {{SEARCH_TIMEOUT, "--search", NULL}, 2, "--search needs a number of milliseconds"},
      {{SEARCH_TIMEOUT, "--search", "-1"}, 2, "--search needs a number of milliseconds"},
      {{SEARCH_TIMEOUT, "--timeout", "0"}, 2, "--timeout needs a number of milliseconds"},
      {{SEARCH_TIMEOUT, "--timeout", "99999999999999999999"}, 2, "--timeout needs a number of milliseconds"},
      {{GENERATOR, "--help", NULL}, 0, "Usage: generator"},
      {{GENERATOR, "5", NULL}, 2, "unknown argument '5'"},
      {{GENERATOR, "--take", NULL}, 2, "--take needs a number"},
      {{GENERATOR, "--take", "0"}, 2, "--take needs a number"},
      {{GENERATOR, "--take", "five"}, 2, "--take needs a number"},
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    RUN_DEMO(world, ROWS[i].argv[0], ROWS[i].argv[1], ROWS[i].argv[2]);
    assert_int_equal(world->child.exit_status, ROWS[i].exit_status);
    assert_has(ROWS[i].exit_status ? &world->child.err : &world->child.out, ROWS[i].says);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      world_test(the_search_is_answered_at_the_deadline_and_released_when_it_is_through),
      world_test(a_search_that_is_fast_enough_succeeds),
      world_test(a_search_that_looks_at_its_context_gives_up_early),
      world_test(five_numbers_are_taken_and_nothing_is_left),
      world_test(any_number_can_be_taken),
      world_test(help_and_wrong_command_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
