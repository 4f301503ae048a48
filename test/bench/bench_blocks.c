/* SPDX-License-Identifier: MIT
 *
 * Items that are blocks of 64 numbers: what a program does whose numbers are too cheap to travel alone. The figures are
 * for each number.
 */
#include <stdlib.h>

#include "bench_flow.h"
#include "bench_pipe.h"

#define BLOCK 64
#define FREE_BLOCKS 128

typedef struct block_s {
  size_t n;
  uint64_t numbers[BLOCK];
} block_t;

/* --- thread to loop ----------------------------------------------------------------------------------------------- */

/* Blocks go back to the sender through a channel of their own, which nobody waits for: where it has none one is
 * malloc'ed, where it is full one is freed. */
typedef struct ours_s {
  uvf_chan_t *full;
  uvf_chan_t *empty;
  uvf_chan_each_t each;
} ours_t;

static void on_blocks(uvf_chan_each_t *each, void *const *items, size_t n) {
  flow_t *f = each->data;
  ours_t *o = f->queue;
  for (size_t i = 0; i < n; i++) {
    block_t *block = items[i];
    for (size_t k = 0; k < block->n; k++) flow_got(f, (void *)(uintptr_t)block->numbers[k]); /* NOLINT */
    if (uvf_chan_try_send(o->empty, block)) free(block);
  }
  flow_loop_got(f);
}

static void on_end(uvf_chan_each_t *each, int status) {
  flow_t *f = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  uv_stop(&f->b.loop);
}

static void ours_open(flow_t *f) {
  ours_t *o = f->queue = bench_alloc(1, sizeof(*o));
  bench_must("uvf_chan_create", uvf_chan_create(f->capacity, &o->full));
  bench_must("uvf_chan_create", uvf_chan_create(FREE_BLOCKS, &o->empty));
  o->each.data = f;
  bench_must("uvf_chan_each", uvf_chan_each(f->b.root, &o->each, o->full, 0, on_blocks, on_end));
}

static void ours_close(flow_t *f) {
  ours_t *o = f->queue;
  void *block;
  uvf_chan_close(o->full);
  uv_run(&f->b.loop, UV_RUN_DEFAULT); /* until its end */
  while (!uvf_chan_try_recv(o->empty, &block)) free(block);
  uvf_chan_release(o->full);
  uvf_chan_release(o->empty);
  bench_loop_close(&f->b);
  free(o);
}

static void ours_send(flow_sender_t *s, uint64_t n) {
  ours_t *o = s->flow->queue;
  while (n > 0) {
    void *item;
    if (uvf_chan_try_recv(o->empty, &item)) item = bench_alloc(1, sizeof(block_t));
    block_t *block = item;
    for (block->n = 0; block->n < BLOCK && n > 0; n--) {
      block->numbers[block->n++] = (uint64_t)(uintptr_t)flow_item(s, s->next++);
    }
    bench_must("uvf_chan_send_wait", uvf_chan_send_wait(s->flow->b.root, o->full, block));
  }
}

static const flow_type_t ours_type = {1, 0, ours_open, ours_close, ours_send, flow_receive_on_loop};

static void *flow_setup(size_t capacity) { return flow_new(&ours_type, capacity, 1, 1); }
static void *arrays_setup(size_t capacity) { return flow_new(&flow_arrays, capacity * BLOCK, 1, FLOW_BATCH); }

static const bench_impl_t flow_ours = {"uvflow", flow_setup, flow_run, flow_delete};
static const bench_impl_t flow_raw = {"libuv: mutex, two arrays, async handle", arrays_setup, flow_run, flow_delete};

/* --- a pipeline --------------------------------------------------------------------------------------------------- */

static int gen(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  (void)item;
  if (p->next == p->end) return UV_EOF;
  block_t *block = malloc(sizeof(*block));
  if (!block) return UV_ENOMEM;
  for (block->n = 0; block->n < BLOCK && p->next < p->end; block->n++)
    block->numbers[block->n] = pipe_number(p->next++);
  return uvf_emit(flow, 0, block);
}

static int square(uvf_flow_t *flow, void *item) {
  block_t *block = item;
  for (size_t i = 0; i < block->n; i++) block->numbers[i] *= block->numbers[i];
  return uvf_emit(flow, 0, block);
}

static int sum(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  block_t *block = item;
  for (size_t i = 0; i < block->n; i++) p->sum += block->numbers[i];
  free(block);
  return 0;
}

static void *pipe_setup(size_t squares) {
  pipe_ours_t *p = pipe_ours_new_with(gen);
  uvf_stage_options_t o;
  for (p->task.squares = 0; p->task.squares < squares; p->task.squares++) {
    uvf_stage_options_init(&o, UVF_STAGE_WORK, p->task.squares ? "sq2" : "sq1", square, p);
    pipe_ours_stage(p, &o);
  }
  uvf_stage_options_init(&o, UVF_STAGE_WORK, "sum", sum, p);
  pipe_ours_stage(p, &o);
  return p;
}

static void *plain_setup(size_t squares) { return pipe_plain_new((pipe_task_t){.squares = (unsigned int)squares}); }

static const bench_impl_t pipe_ours = {"uvflow", pipe_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t pipe_plain = {"floor: a loop that calls the stages, number by number", plain_setup,
                                        pipe_plain_run, free};

const bench_row_t bench_blocks_rows[] = {
    {.name = "chan-thread-blocks",
     .title = "thread to loop, blocks of 64 numbers as items",
     .what = "A thread sends blocks of 64 numbers, a loop receives them and checks each number; room for 128 blocks. "
             "Blocks are used again: the receiver hands them back. Timed: from telling the thread to "
             "begin until the loop has the last number, per number. Raw: the numbers are put into an array that the "
             "loop swaps with its own.",
     .impls = {&flow_ours, &flow_raw},
     .size = 128,
     .flags = BENCH_SIDE},
    {.name = "pipe-squares-blocks",
     .title = "gen -> sq -> sq -> sum, blocks of 64 numbers as items",
     .what = "As pipe-squares, but an item is a block of 64 numbers, which the source allocates and the last stage "
             "frees; every stage goes through its numbers. Timed: from starting a run to its end, per number. The "
             "floor is that of pipe-squares.",
     .impls = {&pipe_ours, &pipe_plain},
     .size = 2,
     .workers = 1,
     .flags = BENCH_SIDE},
    {.name = NULL},
};
