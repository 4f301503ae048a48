/* SPDX-License-Identifier: MIT
 *
 * squares: the first pipeline to read. Numbers are generated, squared twice and summed:
 *
 *   gen ---> square ---> square again ---> sum
 *
 * gen and the squares run on the pool, sum on the loop. A number is an allocation that wanders through: a function owns
 * what it is called with, passes it on with uvf_emit or frees it; what nobody will be called with goes to drop. So with
 * --first, when sum has enough and the stages before it stop, every number that was under way is still accounted for.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { STAGES = 4, NUMBERS_MOST = 100000000, WORKERS_MOST = 1000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: squares [OPTION]... [N]\n"
    "Sums the fourth powers of 1 to N in a pipeline; N is 1 to 100000000, default 10. (From 9840\n"
    "on the sum is what fits in 64 bits.)\n"
    "  --first K    the first K are enough: everything stops then\n"
    "  --workers W  calls of each square at once, 1 to 1000; default 2\n"
    "  --draw       draw the pipeline, and don't run it\n"
    "  --stats      print a table of what each stage has done\n"
    "Exit status: 0 done, 1 not done, 2 the command line is wrong.\n";

typedef struct squares_s {
  uint64_t last, first, workers; /* the command line; first 0: all */
  int draw, stats;
  uint64_t generated;   /* gen's alone while it runs */
  uint64_t summed, sum; /* sum's */
  atomic_uint_fast64_t dropped;
  int status;
} squares_t;

/* --- the stages ------------------------------------------------------------------------------- */

/* Called by uvflow with a number that nobody will handle. */
static void drop(void *number, void *data) {
  squares_t *squares = data;
  squares->dropped++;
  free(number);
}

/* Called by uvflow on the pool, again and again, until it says UV_EOF. */
static int gen(uvf_flow_t *flow, void *none) {
  squares_t *squares = flow->data;
  (void)none;
  if (squares->generated == squares->last) return UV_EOF;
  uint64_t *number = malloc(sizeof(*number));
  if (!number) return UV_ENOMEM;
  *number = squares->generated + 1;
  int err = uvf_emit(flow, 0, number);
  if (!err)
    squares->generated++;
  else
    free(number); /* still ours; UV_EPIPE: nobody wants it any more, and we are not called again */
  return err;
}

/* Called by uvflow on the pool, for up to --workers numbers at once. */
static int square(uvf_flow_t *flow, void *item) {
  uint64_t *number = item;
  *number *= *number;
  return uvf_emit(flow, 0, number); /* if nobody wants it any more, uvflow sees to it */
}

/* Called by uvflow on the loop. */
static int sum(uvf_flow_t *flow, void *item) {
  squares_t *squares = flow->data;
  squares->sum += *(uint64_t *)item;
  free(item);
  return ++squares->summed == squares->first ? UV_EOF : 0; /* UV_EOF: no more, please */
}

/* --- the pipeline ----------------------------------------------------------------------------- */

static int build(uvf_pipeline_t *pipeline, squares_t *squares) {
  uvf_stage_options_t options[STAGES];
  uvf_stage_t *stages[STAGES];
  int err = 0;
  uvf_stage_options_init(&options[0], UVF_STAGE_SOURCE, "gen", gen, squares);
  uvf_stage_options_init(&options[1], UVF_STAGE_WORK, "square", square, squares);
  uvf_stage_options_init(&options[2], UVF_STAGE_WORK, "square again", square, squares);
  uvf_stage_options_init(&options[3], UVF_STAGE_LOOP, "sum", sum, squares);
  for (int i = 0; i < STAGES && !err; i++) {
    options[i].drop = drop;
    if (options[i].kind == UVF_STAGE_WORK) {
      options[i].workers = (unsigned int)squares->workers;
      options[i].ordered = 1; /* the first K that leave are the first K that came */
    }
    err = uvf_pipeline_add(pipeline, &options[i], &stages[i]);
    if (!err && i > 0) err = uvf_pipeline_chain(stages[i - 1], stages[i]);
  }
  return err;
}

/* Called by uvflow on the loop, once, when nothing of the pipeline runs any more. */
static void on_done(uvf_pipeline_t *pipeline, int status, void *arg) {
  squares_t *squares = arg;
  uint64_t dropped = squares->dropped;
  (void)pipeline;
  squares->status = status;
  printf("sum of %" PRIu64 " fourth powers: %" PRIu64 "\n", squares->summed, squares->sum);
  printf("%" PRIu64 " generated = %" PRIu64 " summed + %" PRIu64 " dropped%s\n", squares->generated, squares->summed,
         dropped, squares->generated == squares->summed + dropped ? "" : ": WRONG");
}

static int run(squares_t *squares) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_pipeline_t *pipeline = NULL;
  int err = uv_loop_init(&loop);
  if (err) return err;
  if (!(err = uvf_ctx_background(&loop, &root))) {
    err = uvf_pipeline_create("squares", &pipeline);
    if (!err) err = build(pipeline, squares);
    if (!err && squares->draw) err = uvf_pipeline_draw(pipeline, stdout, UVF_DRAW_TEXT, 0);
    if (!err && !squares->draw) err = uvf_pipeline_run(root, pipeline, on_done, squares);
    uv_run(&loop, UV_RUN_DEFAULT); /* returns when nothing is left to do */
    if (!err && squares->stats && !squares->draw) err = table_print(pipeline, stdout);
    uvf_pipeline_destroy(pipeline);
    uvf_ctx_close(root, NULL);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  int closed = uv_loop_close(&loop);
  if (err || closed) return err ? err : closed;
  return squares->status;
}

/* A number from 1 to most, or 0. */
static uint64_t number(const char *text, uint64_t most) {
  char *end;
  uint64_t n = text && strspn(text, "0123456789") == strlen(text) ? strtoull(text, &end, 10) : 0;
  return n <= most ? n : 0;
}

/* 0, or the argument that is wrong. */
static const char *parse(squares_t *squares, char **argv) {
  for (char **arg = argv + 1; *arg; arg++) {
    if (strcmp(*arg, "--draw") == 0) {
      squares->draw = 1;
    } else if (strcmp(*arg, "--stats") == 0) {
      squares->stats = 1;
    } else if (strcmp(*arg, "--first") == 0 || strcmp(*arg, "--workers") == 0) {
      int first = (*arg)[2] == 'f';
      uint64_t n = number(arg[1], first ? NUMBERS_MOST : WORKERS_MOST);
      if (!n) return *arg;
      *(first ? &squares->first : &squares->workers) = n;
      arg++;
    } else if (!(squares->last = number(*arg, NUMBERS_MOST))) {
      return *arg;
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  squares_t squares = {.last = 10, .workers = 2};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(HELP, stdout);
    return EXIT_DONE;
  }
  const char *wrong = parse(&squares, argv);
  if (wrong) {
    fprintf(stderr, "squares: wrong or without its number: '%s'; see squares --help\n", wrong);
    return EXIT_USAGE;
  }
  int err = run(&squares);
  if (err) fprintf(stderr, "squares: %s\n", uv_strerror(err));
  return err ? EXIT_NOT_DONE : EXIT_DONE;
}
