/* SPDX-License-Identifier: MIT
 *
 * The demos of pipelines that need no network: squares and batch.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_output.h"
#include "world.h"

#define SQUARES_OF(world, ...) child_run(&(world)->child, &(world)->loop, SQUARES, __VA_ARGS__)
#define BATCH_OF(world, ...) child_run(&(world)->child, &(world)->loop, BATCH, __VA_ARGS__)

static void assert_all_went_well(const world_t *world) {
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.err.len, 0);
  assert_int_equal(world->child.exit_status, 0);
}

/* --- squares ---------------------------------------------------------------------------------- */

static uint64_t fourth_powers(uint64_t last) {
  uint64_t sum = 0;
  for (uint64_t i = 1; i <= last; i++) sum += i * i * i * i;
  return sum;
}

static void the_fourth_powers_of_one_to_ten_are_summed(void **state) {
  world_t *world = *state;
  SQUARES_OF(world, NULL);
  assert_all_went_well(world);
  assert_string_equal(world->child.out.at, "sum of 10 fourth powers: 25333\n10 generated = 10 summed + 0 dropped\n");
}

static void any_number_of_workers_comes_to_the_same_sum(void **state) {
  world_t *world = *state;
  static const char *const WORKERS[] = {"1", "2", "3", "16", "1000"};
  char wanted[160];
  snprintf(wanted, sizeof(wanted), "sum of 9839 fourth powers: %" PRIu64 "\n9839 generated = 9839 summed + 0 dropped\n",
           fourth_powers(9839));
  for (size_t i = 0; i < sizeof(WORKERS) / sizeof(WORKERS[0]); i++) {
    SQUARES_OF(world, "9839", "--workers", WORKERS[i]);
    assert_all_went_well(world);
    assert_string_equal(world->child.out.at, wanted);
  }
}

/* The queues are what bounds how many may have been generated when sum had enough: far fewer than asked for. */
static void enough_is_enough_and_no_number_is_lost(void **state) {
  world_t *world = *state;
  static const struct {
    const char *first;
    uint64_t n;
  } ROWS[] = {{"1", 1}, {"3", 3}, {"200", 200}, {"5000", 5000}};
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    char line[80];
    uint64_t generated = 0, summed = 0, dropped = 0;
    int len;
    SQUARES_OF(world, "--workers", "4", "--first", ROWS[i].first, "100000000");
    assert_all_went_well(world);
    len =
        snprintf(line, sizeof(line), "sum of %s fourth powers: %" PRIu64 "\n", ROWS[i].first, fourth_powers(ROWS[i].n));
    assert_memory_equal(world->child.out.at, line, (size_t)len);
    assert_int_equal(sscanf(world->child.out.at + len,
                            "%" SCNu64 " generated = %" SCNu64 " summed + %" SCNu64 " dropped", &generated, &summed,
                            &dropped),
                     3);
    assert_int_equal(summed, ROWS[i].n);
    assert_int_equal(generated, summed + dropped);
    assert_in_range(generated, ROWS[i].n, ROWS[i].n + 20000);
    assert_has_not(&world->child.out, "WRONG");
  }
}

static void more_than_there_are_is_all_of_them(void **state) {
  world_t *world = *state;
  SQUARES_OF(world, "--first", "11", "10");
  assert_all_went_well(world);
  assert_string_equal(world->child.out.at, "sum of 10 fourth powers: 25333\n10 generated = 10 summed + 0 dropped\n");
}

static void the_statistics_of_squares_add_up(void **state) {
  world_t *world = *state;
  table_row_t row;
  SQUARES_OF(world, "--stats", "1000");
  assert_all_went_well(world);
  for (int i = 0; i < 4; i++) {
    table_row(&world->child.out, (const char *[]){"gen", "square", "square again", "sum"}[i], &row);
    assert_int_equal(row.in, 1000);
    assert_int_equal(row.done, 1000);
    assert_int_equal(row.out, i < 3 ? 1000 : 0);
    assert_int_equal(row.failed + row.dropped + row.retried, 0);
  }
  SQUARES_OF(world, "--stats", "--first", "7", "1000000");
  assert_all_went_well(world);
  table_row(&world->child.out, "square", &row);
  assert_int_equal(row.in, row.done + row.failed + row.dropped);
  table_row(&world->child.out, "square again", &row);
  assert_int_equal(row.in, row.done + row.failed + row.dropped);
  table_row(&world->child.out, "sum", &row);
  assert_int_equal(row.in, row.done + row.failed + row.dropped);
  assert_int_equal(row.done, 7);
}

static void squares_is_drawn_and_not_run(void **state) {
  world_t *world = *state;
  SQUARES_OF(world, "--draw", "--stats", "--workers", "3");
  assert_all_went_well(world);
  hide_queues(&world->child.out);
  assert_string_equal(world->child.out.at, "squares\n"
                                           "┌────────┐    ┌───────────┐    ┌──────────────┐    ┌───────────┐\n"
                                           "│ gen    ├───►│ square    ├───►│ square again ├───►│ sum       │\n"
                                           "│ source │    │ work x3   │    │ work x3      │    │ loop      │\n"
                                           "└────────┘    │ queue ### │    │ queue ###    │    │ queue ### │\n"
                                           "              │ ordered   │    │ ordered      │    └───────────┘\n"
                                           "              └───────────┘    └──────────────┘\n");
}

/* --- batch ------------------------------------------------------------------------------------ */

static const char REPORT[] = "   1  letter    18 g    0.85  Ada\n"
                             "   2  letter    43 g    1.00  Grace\n"
                             "   3  parcel  1250 g    6.49  Edsger\n"
                             "   4  letter    20 g    0.85  Barbara\n"
                             "   5  letter   480 g    1.60  Donald\n"
                             "   6  parcel   310 g    5.49  Frances\n"
                             "   7  letter    12 g    0.85  Ken\n"
                             "   8  parcel  7400 g   12.49  Dennis\n"
                             "   9  letter    51 g    1.60  Margaret\n"
                             "  10  letter    20 g    0.85  Tony\n"
                             "  11  parcel  2000 g    6.49  Hedy\n"
                             "  12  letter     7 g    0.85  Alan\n"
                             "  13  letter   910 g    2.75  Niklaus\n"
                             "  14  parcel  4990 g    9.49  Jean\n"
                             "  15  letter    33 g    1.00  John\n"
                             "  16  parcel   150 g    5.49  Radia\n"
                             "  17  letter    19 g    0.85  Kathleen\n"
                             "  18  letter   220 g    1.60  Rob\n"
                             "  19  parcel 31500 g   36.49  Konrad\n"
                             "  20  letter    16 g    0.85  Sophie\n"
                             "  21  letter    50 g    1.00  Maurice\n"
                             "  22  parcel   620 g    5.49  Betty\n"
                             "  23  letter    21 g    1.00  Robin\n"
                             "  24  letter   500 g    1.60  Shafi\n"
                             "  16  letters          19.10\n"
                             "   8  parcels          87.92\n";

/* Of spaces in a row leaves one: how far a number stands from its label depends on the other figures. */
static void squeeze(char *text) {
  char *to = text;
  for (; *text != '\0'; text++) {
    if (text[0] != ' ' || text[1] != ' ') *to++ = *text;
  }
  *to = '\0';
}

static void batch_is_drawn_then_run_then_drawn_with_its_figures(void **state) {
  world_t *world = *state;
  char *drawing, *second;
  size_t drawn;
  BATCH_OF(world, "--draw-only");
  assert_all_went_well(world);
  drawn = world->child.out.len;
  drawing = malloc(drawn + 1);
  assert_non_null(drawing);
  memcpy(drawing, world->child.out.at, drawn + 1);

  BATCH_OF(world, NULL);
  assert_all_went_well(world);
  assert_true(world->child.out.len > drawn + 1 + strlen(REPORT));
  assert_memory_equal(world->child.out.at, drawing, drawn);
  free(drawing);
  assert_int_equal(world->child.out.at[drawn], '\n');
  assert_memory_equal(world->child.out.at + drawn + 1, REPORT, strlen(REPORT));
  second = world->child.out.at + drawn + 1 + strlen(REPORT);
  assert_memory_equal(second, "\nbatch\n", 7);
  assert_has_not(&world->child.out, "\033");
  assert_has_not(&world->child.out, "\r");
  squeeze(second);
  assert_non_null(strstr(second, "│ calls 24 │"));
  assert_non_null(strstr(second, "│ done 16 │"));
  assert_non_null(strstr(second, "│ done 8 │"));
  assert_non_null(strstr(second, "│ done 24 │"));
}

static void the_limiter_paces_both_handlers_together(void **state) {
  world_t *world = *state;
  BATCH_OF(world, "--rate", "20");
  assert_all_went_well(world);
  assert_took(world, (24 - 5) * 1000 / 20, 20000); /* 5 are there at once */
}

static void batch_is_drawn_with_ascii_characters_and_for_graphviz(void **state) {
  world_t *world = *state;
  BATCH_OF(world, "--draw-only", "--ascii");
  assert_all_went_well(world);
  assert_has(&world->child.out, "| mail   +0---->| letters    +-+-->| ledger   |\n");
  for (size_t i = 0; i < world->child.out.len; i++) assert_true((unsigned char)world->child.out.at[i] < 0x7f);
  BATCH_OF(world, "--dot");
  assert_all_went_well(world);
  assert_memory_equal(world->child.out.at, "digraph", 7);
  assert_has(&world->child.out, "label=\"batch\"");
  assert_int_equal(count_lines(&world->child.out, "->", NULL), 4);
}

/* Runs batch on a file with this text. */
static void run_on(world_t *world, const char *text) {
  char path[] = "batch-XXXXXX";
  uv_fs_t made, req;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text));
  assert_true(uv_fs_mkstemp(NULL, &made, path, NULL) >= 0);
  assert_int_equal(uv_fs_write(NULL, &req, (uv_file)made.result, &buf, 1, -1, NULL), strlen(text));
  uv_fs_req_cleanup(&req);
  assert_int_equal(uv_fs_close(NULL, &req, (uv_file)made.result, NULL), 0);
  uv_fs_req_cleanup(&req);
  BATCH_OF(world, "--rate", "1000000", made.path);
  assert_int_equal(uv_fs_unlink(NULL, &req, made.path, NULL), 0);
  uv_fs_req_cleanup(&req);
  uv_fs_req_cleanup(&made);
}

static void wrong_lines_are_named_and_the_rest_is_done(void **state) {
  world_t *world = *state;
  static const char TOO_LONG[] = "letter 5 Looooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
                                 "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooong\n";
  char text[1024];
  snprintf(text, sizeof(text),
           "letter 5 Ann\npostcard 5 Bob\nletter 0 Cid\nparcel 31501 Dan\nletter 5\nletter 5 Eve Fay\n\n%s"
           "parcel 1 Gil",
           TOO_LONG);
  run_on(world, text);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.out, "\n\n   1  letter     5 g    0.85  Ann\n   9  parcel     1 g    5.49  Gil\n"
                                "   1  letters           0.85\n   1  parcels           5.49\n\n");
  for (int line = 2; line <= 8; line++) {
    char says[40];
    snprintf(says, sizeof(says), "batch: line %d is not `letter", line);
    assert_has(&world->child.err, says);
  }
  assert_int_equal(count_lines(&world->child.err, "batch: line ", NULL), 7);
}

static void no_mail_at_all_is_fine(void **state) {
  world_t *world = *state;
  run_on(world, "");
  assert_all_went_well(world);
  assert_has(&world->child.out, "\n   0  letters           0.00\n   0  parcels           0.00\n");
}

/* Fifty parcels are ten rounds of five clerks, 200 ms each; one clerk would need 10 s. */
static void a_hundred_pieces_go_through_queues_of_sixteen_and_five_clerks_each(void **state) {
  world_t *world = *state;
  text_t text = {NULL, 0, 0};
  for (int i = 0; i < 100; i++) text_add(&text, i % 2 ? "letter 30 x\n" : "parcel 30 yy\n", i % 2 ? 12 : 13);
  run_on(world, text.at);
  text_free(&text);
  assert_all_went_well(world);
  assert_has(&world->child.out, "\n  50  letters          50.00\n  50  parcels         274.50\n");
  assert_took(world, 2000, 9000);
}

/* --- both ------------------------------------------------------------------------------------- */

static void help_and_wrong_command_lines(void **state) {
  world_t *world = *state;
  static const struct {
    const char *argv[4];
    int exit_status;
    const char *says;
  } ROWS[] = {
      {{SQUARES, "--help"}, 0, "Usage: squares"},
      {{SQUARES, "--bogus"}, 2, "'--bogus'; see squares --help"},
      {{SQUARES, "0"}, 2, "'0'; see squares --help"},
      {{SQUARES, "-1"}, 2, "'-1'; see squares --help"},
      {{SQUARES, ""}, 2, "''; see squares --help"},
      {{SQUARES, "99999999999999999999"}, 2, "'99999999999999999999'; see"},
      {{SQUARES, "--first"}, 2, "'--first'; see squares --help"},
      {{SQUARES, "--first", "few"}, 2, "'--first'; see squares --help"},
      {{SQUARES, "--workers", "1001"}, 2, "'--workers'; see squares --help"},
      {{BATCH, "--help"}, 0, "Usage: batch"},
      {{BATCH, "--bogus"}, 2, "'--bogus'; see batch --help"},
      {{BATCH, "--rate"}, 2, "'--rate'; see batch --help"},
      {{BATCH, "--rate", "0"}, 2, "'0'; see batch --help"},
      {{BATCH, "--rate", "-5"}, 2, "'-5'; see batch --help"},
      {{BATCH, "--rate", "fast"}, 2, "'fast'; see batch --help"},
      {{BATCH, "one", "two"}, 2, "'two'; see batch --help"},
      {{BATCH, "no such file"}, 1, "batch: no such file: no such file or directory"},
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
      world_test(the_fourth_powers_of_one_to_ten_are_summed),
      world_test(any_number_of_workers_comes_to_the_same_sum),
      world_test(enough_is_enough_and_no_number_is_lost),
      world_test(more_than_there_are_is_all_of_them),
      world_test(the_statistics_of_squares_add_up),
      world_test(squares_is_drawn_and_not_run),
      world_test(batch_is_drawn_then_run_then_drawn_with_its_figures),
      world_test(the_limiter_paces_both_handlers_together),
      world_test(batch_is_drawn_with_ascii_characters_and_for_graphviz),
      world_test(wrong_lines_are_named_and_the_rest_is_done),
      world_test(no_mail_at_all_is_fine),
      world_test(a_hundred_pieces_go_through_queues_of_sixteen_and_five_clerks_each),
      world_test(help_and_wrong_command_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
