/* SPDX-License-Identifier: MIT
 *
 * The reports of the bench, of outcomes that nobody has measured: columns, charts, the picture, the table in Markdown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "bench_axis.h"
#include "report_outcomes.h"

#define SVG_FILE "bench_report.svg"
#define MARKDOWN_FILE "bench_report.md"
#define SVG_LIMIT 30000
#define CHART_WIDTH 100

#define ROTATE ";0;with_timeout & <more>, oldest replaced, by timeouts outstanding;"
#define WORKERS ";2650;gen -> work -> sum, an item, by workers;"

static const char *const lines[] = {
    "timeout;with_timeout + cancel;90;;0;uvflow=47.4;libuv: naive=24.7;libuv: pooled=5.19;Go: WithTimeout=640;"
    "Go: AfterFunc=612;tokio: timeout=452",
    "rotate-1m;of 1,000,000" ROTATE "1000000;uvflow=48.9;libuv: pooled=536;Go: WithTimeout=1690;tokio: sleep=713",
    "rotate-1;of 1" ROTATE "1;uvflow=47.8;libuv: pooled=5.55;Go: WithTimeout=633;GLib: source=1150;tokio: sleep=455",
    "rotate-1k;of 1,000" ROTATE
    "1000;uvflow=48.5;libuv: pooled=102;Go: WithTimeout=890;GLib: source=15150;tokio: sleep=470",
    "ordered;in order, or | not;0;;0;uvflow, ordered=30;uvflow, not ordered=20;threads: a mutex=11;floor: a counter=2",
    "workers-1;1 worker" WORKERS "1;uvflow=1010;threads: a mutex=1370;floor: a counter=1002;Go: pool=1490;TBB=1201;"
    "nng: inproc=4000;ecstatic: other=1300",
    "workers-4;4 workers" WORKERS "4;uvflow=268;threads: a mutex=720;floor: a counter=259;Go: pool=761;TBB=260;"
    "nng: inproc=2000;ecstatic: other=1200",
    "alone;a series of one point;0;alone by nothing;1;uvflow=1;Go=2",
    NULL};

static int make(void **state) {
  *state = outcomes_make(lines);
  return 0;
}

static int drop(void **state) {
  outcomes_free(*state);
  return 0;
}

static const bench_outcome_t *named(const outcomes_t *o, const char *name) {
  for (size_t i = 0; i < o->n; i++) {
    if (!strcmp(o->row[i].name, name)) return &o->outcome[i];
  }
  fail_msg("no row %s", name);
  return NULL;
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

static void a_column_is_what_stands_before_the_colon(void **state) {
  (void)state;
  assert_string_equal(bench_column_of("Go: WithTimeout"), "Go");
  assert_string_equal(bench_column_of("uvflow, ordered"), "uvflow");
  assert_string_equal(bench_column_of("TBB"), "TBB");
  assert_string_equal(bench_column_of("libuvx: another"), "libuvx");
  assert_ptr_equal(bench_column_of("libuvx"), bench_column_of("libuvx: again"));
}

static void columns_stand_in_a_fixed_order(void **state) {
  static const char *const order[] = {"uvflow", "libuv", "Go",       "GLib",    "TBB",
                                      "tokio",  "nng",   "ecstatic", "threads", "floor"};
  const outcomes_t *o = *state;
  const char *columns[BENCH_MAX_COLUMNS];
  assert_int_equal(bench_columns(o->outcome, o->n, columns, BENCH_MAX_COLUMNS), 10);
  for (int i = 0; i < 10; i++) assert_string_equal(columns[i], order[i]);
  assert_int_equal(bench_columns(o->outcome, o->n, columns, 3), 3);
}

static void the_best_implementation_of_a_column_counts(void **state) {
  const char *name = NULL;
  const bench_outcome_t *timeout = named(*state, "timeout");
  assert_true(bench_best_of(timeout, "Go", &name)->median == 612);
  assert_string_equal(name, "Go: AfterFunc");
  assert_true(bench_best_of(timeout, "libuv", NULL)->median == 5.19);
  assert_true(bench_best_of(named(*state, "ordered"), "uvflow", &name)->median == 20);
  assert_null(bench_best_of(timeout, "nng", NULL));
}

static void what_was_filtered_out_is_not_there(void **state) {
  outcomes_t *o = *state;
  o->outcome[0].results[4].there = 0;
  assert_true(bench_best_of(&o->outcome[0], "Go", NULL)->median == 640);
}

static void nothing_written_by_hand_is_a_peer(void **state) {
  const char *column = NULL;
  assert_true(bench_best_peer(named(*state, "timeout"), &column)->median == 452);
  assert_string_equal(column, "tokio");
  assert_true(bench_best_peer(named(*state, "workers-4"), &column)->median == 260);
  assert_string_equal(column, "TBB");
  assert_null(bench_best_peer(named(*state, "ordered"), &column));
}

static void the_ratio_is_that_of_the_turns_where_it_can_be(void **state) {
  outcomes_t *o = *state;
  bench_outcome_t *timeout = &o->outcome[0];
  assert_true(bench_ratio(timeout) == 452 / 47.4);
  timeout->results[5].ratio = 9.25; /* of tokio, against the first */
  assert_true(bench_ratio(timeout) == 9.25);
  timeout->names[1] = "uvflow: another way"; /* is our best now, and not what the turns were compared with */
  assert_true(bench_ratio(timeout) == 452 / 24.7);
  timeout->results[0].there = timeout->results[1].there = 0;
  assert_true(bench_ratio(timeout) == 0);
  assert_true(bench_ratio(named(o, "ordered")) == 0);
}

static void long_times_are_told_in_ms(void **state) {
  bench_row_t row = {0};
  char buf[32];
  (void)state;
  assert_string_equal(bench_amount(buf, sizeof(buf), &row, 2.4e8, 1), "240 ms");
  assert_string_equal(bench_amount(buf, sizeof(buf), &row, 1.234e7, 0), "12.3 ms");
  assert_string_equal(bench_amount(buf, sizeof(buf), &row, 9999999, 0), "9,999,999");
  row.flags = BENCH_BYTES;
  assert_string_equal(bench_amount(buf, sizeof(buf), &row, 2e7, 0), "20,000,000");
}

static void a_goal_may_follow_the_second_implementation(void **state) {
  (void)state;
  bench_row_t row = {.goal = 90};
  bench_result_t results[2] = {{.there = 1, .median = 5}, {.there = 1, .median = 100}};
  assert_true(bench_goal(&row, results) == 90);
  row.goal_ratio = 1.5;
  assert_true(bench_goal(&row, results) == 150);
  row.goal_more = 3;
  assert_true(bench_goal(&row, results) == 103);
}

static void figures_have_three_digits(void **state) {
  static const struct {
    double x;
    const char *figure, *whole, *count;
  } rows[] = {{0.259, "0.26", "0", "0.259"},          {9.994, "9.99", "10", "9.994"},
              {9.996, "10.0", "10", "9.996"},         {99.94, "99.9", "100", "99.94"},
              {99.96, "100", "100", "99.96"},         {1024, "1,024", "1,024", "1,024"},
              {1000, "1,000", "1,000", "1k"},         {2650, "2,650", "2,650", "2,650"},
              {100000, "100,000", "100,000", "100k"}, {1e6, "1,000,000", "1,000,000", "1M"}};
  char buf[32];
  (void)state;
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    assert_string_equal(bench_figure(buf, sizeof(buf), rows[i].x), rows[i].figure);
    assert_string_equal(bench_whole(buf, sizeof(buf), rows[i].x), rows[i].whole);
    assert_string_equal(bench_count(buf, sizeof(buf), rows[i].x), rows[i].count);
  }
  assert_string_equal(bench_whole(buf, 4, 1234567), "1,2"); /* cut, never past its end */
}

/* --- curves ------------------------------------------------------------------------------------------------------- */

static void a_series_stands_in_order_of_x(void **state) {
  const outcomes_t *o = *state;
  bench_series_t series[BENCH_MAX_SERIES];
  assert_int_equal(bench_series(o->outcome, o->n, series, BENCH_MAX_SERIES), 2); /* one point is no chart */
  assert_int_equal(series[0].points, 3);
  assert_int_equal(series[0].curves, 5);
  const bench_curve_t *ours = &series[0].curve[0], *glib = &series[0].curve[3];
  assert_string_equal(ours->column, "uvflow");
  assert_true(ours->x[0] == 1 && ours->y[0] == 47.8);
  assert_true(ours->x[2] == 1e6 && ours->y[2] == 48.9);
  assert_string_equal(glib->column, "GLib");
  assert_int_equal(glib->points, 2);
  assert_true(bench_curve_at(glib, 1000) == 15150);
  assert_true(bench_curve_at(glib, 1e6) == 0);
}

static void labels_keep_their_distance_and_their_order(void **state) {
  double places[] = {1, 1, 2, 50, 99, 100, 100};
  (void)state;
  bench_spread(places, 7, 10, 0, 100);
  for (int i = 1; i < 7; i++) assert_true(places[i] - places[i - 1] >= 9.999);
  assert_true(places[0] >= 0 && places[6] <= 100.001);
  assert_true(places[3] == 50); /* nobody is near */
}

static void an_axis_is_logarithmic_where_it_must_be(void **state) {
  outcomes_t *o = *state;
  bench_series_t series[BENCH_MAX_SERIES];
  bench_series(o->outcome, o->n, series, BENCH_MAX_SERIES);
  bench_axis_t y = bench_axis_y(&series[0]), x = bench_axis_x(&series[0]);
  assert_true(y.log && x.log);
  assert_true(bench_axis_at(&x, 1000) == 0.5);
  assert_int_equal(x.ticks, 3);
  for (int i = 0; i < y.ticks; i++) assert_in_range((int)(100 * bench_axis_at(&y, y.tick[i])), 0, 100);
  series[0].curves = 1; /* ours alone is flat */
  y = bench_axis_y(&series[0]);
  assert_false(y.log);
  assert_true(y.tick[0] == 0 && bench_axis_at(&y, 0) == 0);
  assert_in_range(y.ticks, 3, 8);
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static char *file_text(FILE *file) {
  long size;
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  size = ftell(file);
  rewind(file);
  char *text = calloc(1, (size_t)size + 1);
  assert_int_equal(fread(text, 1, (size_t)size, file), size);
  fclose(file);
  return text;
}

/* A text that a terminal shows in 100 columns: of UTF-8 the first byte of each character is counted. */
static void check_width(const char *text) {
  int column = 0;
  for (const char *c = text; *c; c++) {
    column = *c == '\n' ? 0 : column + ((*c & 0xc0) != 0x80);
    assert_in_range(column, 0, CHART_WIDTH);
  }
}

static char *charts(const outcomes_t *o, const char *locale, int colours) {
  FILE *file = tmpfile();
  assert_int_equal(uv_os_setenv("LC_ALL", locale), 0);
  bench_charts(file, o->outcome, o->n, colours);
  return file_text(file);
}

static void charts_are_plain_where_nothing_else_is_understood(void **state) {
  char *text = charts(*state, "C", 0);
  check_width(text);
  for (const char *c = text; *c; c++) assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
  assert_non_null(strstr(text, "by timeouts outstanding"));
  assert_non_null(strstr(text, "15,150"));
  assert_null(strstr(text, "alone"));
  assert_null(strstr(text, " \n")); /* no blanks at the end of a line */
  free(text);
}

static void charts_have_dots_where_the_locale_has_utf8(void **state) {
  char *text = charts(*state, "C.UTF-8", 0);
  check_width(text);
  assert_null(strchr(text, '\033'));
  assert_non_null(strstr(text, "●"));
  free(text);
}

static void charts_have_colours_where_they_are_wanted(void **state) {
  char *text = charts(*state, "C.UTF-8", 1);
  assert_non_null(strstr(text, "\033[1;32m●"));
  free(text);
}

/* Where the tag ends, behind its '>'; attributes have quotes, and no '<' within. */
static const char *tag_end(const char *c) {
  int quoted = 0;
  for (; *c && (quoted || *c != '>'); c++) {
    assert_int_not_equal(*c, '<');
    quoted ^= *c == '"';
  }
  assert_int_equal(*c, '>');
  return c + 1;
}

/* Every tag is closed by its own, in turn, and every '&' begins an entity. */
static void check_balanced(const char *text) {
  char open[16][16];
  int depth = 0, all = 0;
  for (const char *c = text; *c;) {
    if (*c == '&') assert_true(!strncmp(c, "&lt;", 4) || !strncmp(c, "&gt;", 4) || !strncmp(c, "&amp;", 5));
    if (*c != '<') {
      assert_true(depth > 0 || *c == '\n');
      c++;
      continue;
    }
    int closes = c[1] == '/';
    size_t length = strcspn(c + 1 + closes, " >/");
    const char *name = c + 1 + closes, *end = tag_end(c + 1);
    assert_in_range(length, 1, 15);
    all++;
    if (closes) {
      assert_in_range(depth, 1, 16);
      depth--;
      assert_int_equal(strlen(open[depth]), length);
      assert_memory_equal(open[depth], name, length);
    } else if (end[-2] != '/') {
      assert_in_range(depth, 0, 15);
      memcpy(open[depth], name, length);
      open[depth++][length] = '\0';
    }
    c = end;
  }
  assert_int_equal(depth, 0);
  assert_in_range(all, 20, SVG_LIMIT);
}

static void the_picture_is_well_formed_and_small(void **state) {
  const outcomes_t *o = *state;
  assert_int_equal(bench_svg(SVG_FILE, o->outcome, o->n), 0);
  char *text = file_text(fopen(SVG_FILE, "r"));
  assert_in_range(strlen(text), 1000, SVG_LIMIT);
  check_balanced(text);
  assert_non_null(strstr(text, "with_timeout &amp; &lt;more&gt;, oldest replaced<"));
  assert_non_null(strstr(text, "gen → work → sum, an item<"));
  assert_non_null(strstr(text, "prefers-color-scheme:dark"));
  assert_non_null(strstr(text, ">uvflow 48.9<"));
  assert_non_null(strstr(text, ">GLib<")); /* not there at the last point */
  assert_null(strstr(text, "script"));
  assert_null(strstr(text, "href"));
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "inf"));
  free(text);
}

static void a_picture_of_nothing_is_not_drawn(void **state) {
  (void)state;
  remove("bench_report_none.svg");
  assert_int_equal(bench_svg("bench_report_none.svg", NULL, 0), 0);
  assert_null(fopen("bench_report_none.svg", "r"));
}

static void a_file_that_cannot_be_written_is_told(void **state) {
  const outcomes_t *o = *state;
  assert_int_equal(bench_svg("no/such/directory.svg", o->outcome, o->n), UV_ENOENT);
  assert_int_equal(bench_markdown("no/such/directory.md", o->outcome, o->n, "m"), UV_ENOENT);
}

static int cells(const char *line) {
  int count = 0;
  for (const char *c = line; *c; c++) count += *c == '|' && (c == line || c[-1] != '\\');
  return count;
}

static void markdown_has_the_same_cells_in_every_line(void **state) {
  const outcomes_t *o = *state;
  assert_int_equal(bench_markdown(MARKDOWN_FILE, o->outcome, o->n, "a machine of 4 processors"), 0);
  char *text = file_text(fopen(MARKDOWN_FILE, "r"));
  int tables = 0;
  assert_non_null(
      strstr(text, "| with_timeout + cancel | 90 | 5.19 | **47.4** | 612 |  |  | 452 |  |  | 9.54 (tokio) |\n"));
  assert_non_null(strstr(text, "| in order, or \\| not |  | 11.0 (threads) | 20.0 |  |  |  |  |  |  |  |\n"));
  assert_non_null(strstr(text, "| 268 | 761 |  | 260 |  | 2,000 | 1,200 | 0.97 (TBB) |\n")); /* not bold: behind */
  assert_non_null(strstr(text, "a machine of 4 processors"));
  assert_non_null(strstr(text, "`sh test/bench/run`"));
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    if (*line != '|') continue;
    assert_int_equal(cells(line), 12);
    tables++;
  }
  assert_int_equal(tables, 2 + (int)o->n);
  free(text);
}

static void markdown_without_peers_has_no_ratio(void **state) {
  static const char *const alone[] = {"a;title;90;;0;uvflow=47.4;libuv: naive=24.7", NULL};
  outcomes_t *o = outcomes_make(alone);
  (void)state;
  assert_int_equal(bench_markdown(MARKDOWN_FILE, o->outcome, o->n, "m"), 0);
  char *text = file_text(fopen(MARKDOWN_FILE, "r"));
  assert_non_null(strstr(text, "| ns per operation | goal | raw libuv | uvflow |\n|---|--:|--:|--:|\n"));
  assert_non_null(strstr(text, "| title | 90 | 24.7 | 47.4 |\n"));
  free(text);
  outcomes_free(o);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_column_is_what_stands_before_the_colon),
                                     TEST(columns_stand_in_a_fixed_order),
                                     TEST(the_best_implementation_of_a_column_counts),
                                     TEST(what_was_filtered_out_is_not_there),
                                     TEST(nothing_written_by_hand_is_a_peer),
                                     TEST(the_ratio_is_that_of_the_turns_where_it_can_be),
                                     TEST(long_times_are_told_in_ms),
                                     TEST(a_goal_may_follow_the_second_implementation),
                                     TEST(figures_have_three_digits),
                                     TEST(a_series_stands_in_order_of_x),
                                     TEST(labels_keep_their_distance_and_their_order),
                                     TEST(an_axis_is_logarithmic_where_it_must_be),
                                     TEST(charts_are_plain_where_nothing_else_is_understood),
                                     TEST(charts_have_dots_where_the_locale_has_utf8),
                                     TEST(charts_have_colours_where_they_are_wanted),
                                     TEST(the_picture_is_well_formed_and_small),
                                     TEST(a_picture_of_nothing_is_not_drawn),
                                     TEST(a_file_that_cannot_be_written_is_told),
                                     TEST(markdown_has_the_same_cells_in_every_line),
                                     TEST(markdown_without_peers_has_no_ratio)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
