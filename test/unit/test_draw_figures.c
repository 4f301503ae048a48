/* SPDX-License-Identifier: MIT
 *
 * Drawings with figures: what they tell of a stage while it runs, and when it has; how numbers are written; and that a
 * drawing keeps its shape while threads of the pool change what it tells.
 */
#include "unit/draw_probe.h"
#include "unit/flow_probe.h"

#include "flow/draw.h"

/* --- boxes --- */

static void while_it_runs_all_that_changes_is_told_with_the_numbers_at_the_right(void **state) {
  (void)state;
  assert_text(figures(), UVF_DRAW_STATS,
              "figures\n"
              "┌────────────────┐    ┌────────────────┐    ┌────────────────┐\n"
              "│ gen            ├───►│ square         ├───►│ sum            │\n"
              "│ source         │    │ work x4        │    │ loop           │\n"
              "│ busy       0/1 │    │ skip errors    │    │ queued   0/256 │\n"
              "│ calls     1235 │    │ queued 126/256 │    │ busy       0/1 │\n"
              "│ out       1235 │    │ busy       4/4 │    │ done        19 │\n"
              "│ rate     618/s │    │ done      1100 │    │ rate     9.5/s │\n"
              "│ call         - │    │ out       1100 │    │ call         - │\n"
              "│ p99          - │    │ rate     550/s │    │ p99          - │\n"
              "└────────────────┘    │ call         - │    └────────────────┘\n"
              "                      │ p99          - │\n"
              "                      │ failed       2 │\n"
              "                      │ retried      1 │\n"
              "                      │ dropped      3 │\n"
              "                      └────────────────┘\n");
}

static void a_stage_that_is_finished_says_so_in_the_place_of_its_workers_while_others_run(void **state) {
  uvf_pipeline_t *p = figures();
  (void)state;
  p->stages->finished = 1;
  p->running = 1;
  (void)draw(p, UVF_DRAW_TEXT, UVF_DRAW_STATS | UVF_DRAW_PLAIN);
  p->running = 0;
  assert_non_null(strstr(drawn, "\n| source         |    | work x4        |    | loop           |\n"
                                "| finished       |    | skip errors    |    | queued   0/256 |\n"
                                "| calls     1235 |    | queued 126/256 |    | busy       0/1 |\n"));
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void after_the_run_what_is_over_and_what_there_was_not_is_left_out(void **state) {
  uvf_pipeline_t *p = figures();
  (void)state;
  for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) s->finished = 1;
  assert_text(p, UVF_DRAW_STATS,
              "figures\n"
              "┌────────────┐    ┌─────────────┐    ┌────────────┐\n"
              "│ gen        ├───►│ square      ├───►│ sum        │\n"
              "│ source     │    │ work x4     │    │ loop       │\n"
              "│ calls 1235 │    │ skip errors │    │ done    19 │\n"
              "│ out   1235 │    │ done   1100 │    │ rate 9.5/s │\n"
              "│ rate 618/s │    │ out    1100 │    └────────────┘\n"
              "└────────────┘    │ rate  550/s │\n"
              "                  │ failed    2 │\n"
              "                  │ retried   1 │\n"
              "                  │ dropped   3 │\n"
              "                  └─────────────┘\n");
}

/* A channel that is received from three at once, and a clock. */
static uvf_pipeline_t *loop_sources(void) {
  uvf_pipeline_t *p = pipeline_of("loop sources");
  uvf_stage_options_t o = options_of(UVF_STAGE_ASYNC, "chan");
  uvf_stage_t *chan, *line, *clock, *sink;
  o.inputs = 0;
  o.workers = 3;
  chan = add(p, &o);
  o.name = "line";
  o.workers = 1;
  line = add(p, &o);
  o = options_of(UVF_STAGE_LOOP, "clock");
  o.inputs = 0;
  clock = add(p, &o);
  sink = stage_of(p, UVF_STAGE_ASYNC, "sink");
  chain(chan, sink);
  chain(line, sink);
  chain(clock, sink);
  return p;
}

static void sources_on_the_loop_are_called_that_and_have_no_queue(void **state) {
  (void)state;
  assert_text(loop_sources(), 0,
              "loop sources\n"
              "┌─────────────────┐     ┌───────────┐\n"
              "│ chan            ├─┬──►│ sink      │\n"
              "│ async source x3 │ │   │ async x1  │\n"
              "└─────────────────┘ │   │ queue 256 │\n"
              "┌─────────────────┐ │   └───────────┘\n"
              "│ line            ├─┤\n"
              "│ async source    │ │\n"
              "└─────────────────┘ │\n"
              "┌─────────────────┐ │\n"
              "│ clock           ├─┘\n"
              "│ loop source     │\n"
              "└─────────────────┘\n");
  assert_dot(loop_sources(), 0,
             "digraph {\n"
             "  rankdir=LR;\n"
             "  labelloc=t;\n"
             "  label=\"loop sources\";\n"
             "  node [shape=box];\n"
             "  s0 [label=\"chan\\nasync source x3\"];\n"
             "  s1 [label=\"line\\nasync source\"];\n"
             "  s2 [label=\"clock\\nloop source\"];\n"
             "  s3 [label=\"sink\\nasync x1\\nqueue 256\"];\n"
             "  s0 -> s3;\n"
             "  s1 -> s3;\n"
             "  s2 -> s3;\n"
             "}\n");
}

static void the_figures_of_a_source_on_the_loop_are_calls_and_no_queue(void **state) {
  uvf_pipeline_t *p = loop_sources();
  (void)state;
  p->stages->in = 7;
  p->stages->busy = 2;
  (void)draw(p, UVF_DRAW_DOT, UVF_DRAW_STATS);
  assert_non_null(strstr(drawn, "\"chan\\nasync source x3\\nbusy 2/3\\ncalls 7\\nout 0\\nrate 0/s\\ncall -\\np99 -\""));
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void the_pace_of_a_limiter_is_told_as_it_is_now(void **state) {
  uvf_pipeline_t *p = pipeline_of("paced");
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "paced");
  uvf_limiter_t limiter;
  (void)state;
  assert_int_equal(uvf_limiter_init(&limiter, 0.5, 1), 0);
  o.limiter = &limiter;
  chain(source_of(p, "source"), add(p, &o));
  assert_non_null(strstr(draw(p, UVF_DRAW_TEXT, 0), "│ limit 0.5/s │\n"));
  assert_non_null(strstr(draw(p, UVF_DRAW_DOT, 0), "\\nlimit 0.5/s\""));
  assert_int_equal(uvf_limiter_set(&limiter, 40, 1), 0);
  assert_non_null(strstr(draw(p, UVF_DRAW_TEXT, 0), "│ limit 40/s │\n"));
  assert_int_equal(uvf_limiter_set(&limiter, UVF_LIMITER_INF, 1), 0);
  assert_non_null(strstr(draw(p, UVF_DRAW_TEXT, 0), "│ limited   │\n"));
  assert_int_equal(uvf_limiter_set(&limiter, 0, 1), 0);
  assert_non_null(strstr(draw(p, UVF_DRAW_DOT, 0), "\\nlimited\""));
  assert_int_equal(uvf_pipeline_destroy(p), 0);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

/* --- numbers --- */

typedef struct number_s {
  double value;
  const char *text;
} number_t;

static void rates_are_short(void **state) {
  static const number_t rows[] = {
      {0, "0/s"},         {-1, "0/s"},       {0.004, "0/s"},      {0.05, "0.05/s"},   {0.5, "0.5/s"},
      {9.5, "9.5/s"},     {9.94, "9.9/s"},   {9.96, "10/s"},      {28.4, "28/s"},     {999.6, "1000/s"},
      {9999.4, "9999/s"}, {9999.6, "10k/s"}, {12345, "12.3k/s"},  {99949, "99.9k/s"}, {99960, "100k/s"},
      {999499, "999k/s"}, {999501, "1M/s"},  {1234567, "1.2M/s"}, {4e9, "4G/s"},      {1e300, "1000000000G/s"},
  };
  char text[UVF__FACT_SIZE];
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf__draw_rate(text, rows[i].value);
    assert_string_equal(text, rows[i].text);
  }
}

static void limits_are_exact(void **state) {
  static const number_t rows[] = {
      {0, ""},          {0.0004, ""},          {0.0166667, "0.017/s"}, {0.5, "0.5/s"},
      {0.9999, "1/s"},  {2.25, "2.25/s"},      {33.333, "33.3/s"},     {40, "40/s"},
      {100.4, "100/s"}, {12345, "12345/s"},    {1e6, "1000000/s"},     {1e15, "1000000000000000/s"},
      {1e16, ""},       {UVF_LIMITER_INF, ""},
  };
  char text[UVF__FACT_SIZE];
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf__draw_limit(text, rows[i].value);
    assert_string_equal(text, rows[i].text);
  }
}

static void durations_have_two_digits_and_a_unit(void **state) {
  static const struct {
    uint64_t ns;
    const char *text;
  } rows[] = {
      {0, "0 ns"},       {7, "7 ns"},        {99, "99 ns"},          {384, "380 ns"},
      {994, "990 ns"},   {995, "1 us"},      {1234, "1.2 us"},       {9949, "9.9 us"},
      {9950, "10 us"},   {99499, "99 us"},   {99500, "100 us"},      {134217728, "130 ms"},
      {3000000, "3 ms"}, {995000000, "1 s"}, {2500000000u, "2.5 s"}, {UINT64_C(1234000000000), "1230 s"},
  };
  char text[UVF__FACT_SIZE];
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf__draw_duration(text, rows[i].ns);
    assert_string_equal(text, rows[i].text);
  }
  uvf__draw_duration(text, UINT64_MAX);
  assert_string_equal(text, "18446744070 s");
}

/* --- while it runs --- */

#define ROUNDS 300

static struct {
  uvf_pipeline_t *pipeline;
  size_t made, drawings, others;
  char shape[4096];
} live;

static int make(uvf_flow_t *flow, void *item) {
  (void)item;
  return live.made++ == ROUNDS ? UV_EOF : uvf_emit(flow, 0, NULL);
}

static int pass(uvf_flow_t *flow, void *item) { return uvf_emit(flow, 0, item); }

/* Leaves the lines: they are not ASCII. */
static void blank(char *text) {
  for (; *text != '\0'; text++) {
    if (*text >= ' ' && *text <= '~') *text = ' ';
  }
}

static int draws(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  (void)draw(live.pipeline, UVF_DRAW_TEXT, UVF_DRAW_STATS);
  blank(drawn);
  assert_true(strlen(drawn) < sizeof live.shape);
  if (live.drawings++ == 0) strcpy(live.shape, drawn);
  live.others += strcmp(live.shape, drawn) != 0;
  return 0;
}

static void a_drawing_keeps_its_shape_while_the_pool_works(void **state) {
  fixture_t *f = *state;
  uvf_pipeline_t *p = pipeline_of("live");
  uvf_stage_options_t o = options_of(UVF_STAGE_SOURCE, "make");
  uvf_stage_t *source, *work, *sink;
  uvf_stage_stats_t stats;
  char line[80], text[UVF__FACT_SIZE];
  memset(&live, 0, sizeof live);
  live.pipeline = p;
  o.fn = make;
  source = add(p, &o);
  o = options_of(UVF_STAGE_WORK, "pass");
  o.fn = pass;
  o.workers = 2;
  work = add(p, &o);
  o = options_of(UVF_STAGE_LOOP, "draw");
  o.fn = draws;
  o.capacity = 16;
  sink = add(p, &o);
  chain(source, work);
  chain(work, sink);
  assert_int_equal(run_to_end(f, f->root, p), 0);
  assert_int_equal(live.drawings, ROUNDS);
  assert_int_equal(live.others, 0);

  (void)draw(p, UVF_DRAW_DOT, UVF_DRAW_STATS);
  assert_non_null(strstr(drawn, "\"make\\nsource\\ncalls 300\\nout 300\\nrate "));
  assert_non_null(strstr(drawn, "\"pass\\nwork x2\\ndone 300\\nout 300\\nrate "));
  assert_non_null(strstr(drawn, "\"draw\\nloop\\ndone 300\\nrate "));
  assert_null(strstr(drawn, "dropped"));
  assert_int_equal(uvf_stage_stats(sink, &stats), 0);
  assert_true(stats.median_ns > 0);
  uvf__draw_duration(text, stats.median_ns);
  snprintf(line, sizeof line, "/s\\ncall %s", text);
  assert_non_null(strstr(strstr(drawn, "\"draw"), line));
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(while_it_runs_all_that_changes_is_told_with_the_numbers_at_the_right),
      unit(a_stage_that_is_finished_says_so_in_the_place_of_its_workers_while_others_run),
      unit(after_the_run_what_is_over_and_what_there_was_not_is_left_out),
      unit(sources_on_the_loop_are_called_that_and_have_no_queue),
      unit(the_figures_of_a_source_on_the_loop_are_calls_and_no_queue),
      unit(the_pace_of_a_limiter_is_told_as_it_is_now),
      unit(rates_are_short),
      unit(limits_are_exact),
      unit(durations_have_two_digits_and_a_unit),
      unit(a_drawing_keeps_its_shape_while_the_pool_works),
  };
  return test_run(tests);
}
