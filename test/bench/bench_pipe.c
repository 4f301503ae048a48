/* SPDX-License-Identifier: MIT
 *
 * Rows of pipelines whose items cost next to nothing: what carrying one through the stages costs.
 */
#include <stdlib.h>

#include "bench_pipe.h"

#define SLOW_ITEMS 500
#define SLOW_NS 20000

static pipe_ours_t *chain_of(size_t squares) {
  pipe_ours_t *p = pipe_ours_new((pipe_task_t){0});
  for (size_t i = 0; i < squares; i++) pipe_ours_square(p);
  return p;
}

static void *ours_setup(size_t squares) {
  pipe_ours_t *p = chain_of(squares);
  pipe_ours_sum(p, UVF_STAGE_WORK);
  return p;
}

static void *apart_setup(size_t squares) {
  pipe_ours_t *p = pipe_ours_new_slowly((pipe_task_t){0}, SLOW_ITEMS, SLOW_NS);
  for (size_t i = 0; i < squares; i++) pipe_ours_square(p);
  pipe_ours_sum(p, UVF_STAGE_WORK);
  return p;
}

static void *raw_setup(size_t squares) {
  return pipe_raw_new((pipe_task_t){.squares = (unsigned int)squares}, (unsigned int)squares, 1, 1);
}

static void *raw_batch_setup(size_t squares) {
  return pipe_raw_new((pipe_task_t){.squares = (unsigned int)squares}, (unsigned int)squares, 1, 64);
}

static void *plain_setup(size_t squares) { return pipe_plain_new((pipe_task_t){.squares = (unsigned int)squares}); }

static const bench_impl_t ours = {"uvflow", ours_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t apart = {"uvflow", apart_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t raw = {"threads: a mutex, two conditions", raw_setup, pipe_raw_run, pipe_raw_delete};
static const bench_impl_t raw_batch = {"threads: the same, 64 at once", raw_batch_setup, pipe_raw_run, pipe_raw_delete};
static const bench_impl_t plain = {"floor: a loop that calls the stages", plain_setup, pipe_plain_run, free};

#define PIPE_WHAT                                                                                                      \
  "A source emits odd numbers, stages square them, the last one adds them up; the sum is checked. Queues hold 128. "   \
  "Timed: from starting a run to its end, per item of the source, many thousands of items a run. The rivals are a "    \
  "thread for each stage with hand-written bounded queues between them, item by item and in batches, and a loop that " \
  "calls the same stages through pointers, which carries nothing. "

/* Of rows that grow with the stages. */
#define STAGES_GROW(n)                                                                                                 \
  .what = PIPE_WHAT "How the cost of an item grows with the number of stages.", .impls = {&ours, &plain}, .size = (n), \
  .workers = 1, .flags = BENCH_SIDE, .series = "gen -> sq ... -> sum on 1 worker, an item, by stages that square",     \
  .x = (n)

#define STAGES_ROW(n)                                                                                                  \
  { .name = "pipe-stages-" #n, .title = "gen -> " #n " times sq -> sum, 1 worker", STAGES_GROW(n) }

const bench_row_t bench_pipe_rows[] = {
    {.name = "pipe-squares",
     .title = "gen -> sq -> sq -> sum, run to completion",
     .what = PIPE_WHAT,
     .peer = "TBB 140, Go 203",
     .goal = 25,
     .impls = {&ours, &raw, &raw_batch, &plain},
     .size = 2,
     .workers = 1,
     .flags = BENCH_SIDE},
    {.name = "pipe-squares-apart",
     .title = "gen -> sq -> sq -> sum, four threads at hand",
     .what = PIPE_WHAT
     "The goal is that of stages on four threads that hand over to each other. Left alone the library brings no second "
     "thread for items as cheap as these, so each run begins with 500 items that cost 20 us in each of the squares, "
     "until four runners are there; timed from the first cheap item to the end of the run. Nothing can force the "
     "runners to share what is so cheap: those that find nothing to do for a moment go, and one is left. See "
     "pipe-work-apart for stages that are worth a thread each. CPU time is not shown: the dear items are in it.",
     .peer = "TBB 140, Go 203",
     .goal = 60,
     .impls = {&apart, &raw, &raw_batch},
     .size = 2,
     .workers = 4,
     .flags = BENCH_SIDE},
    {.name = "pipe-squares-w4",
     .title = "gen -> sq -> sq -> sum, 4 workers, as the library likes",
     .what = PIPE_WHAT "The pipeline may use four workers, and is left to itself.",
     .impls = {&ours, &plain},
     .size = 2,
     .workers = 4},
    {.name = "pipe-stages-1", .title = "gen -> sq -> sum, 1 worker", STAGES_GROW(1)},
    STAGES_ROW(2),
    STAGES_ROW(4),
    STAGES_ROW(8),
    STAGES_ROW(16),
    {.name = NULL},
};
