/* SPDX-License-Identifier: MIT
 *
 * Rows of pipelines with a stage on the loop: one that adds up there, and one that starts something for each item which
 * is over at the loop's next turn.
 */
#include <stdlib.h>

#include "bench_flow.h"
#include "bench_pipe.h"

/* --- a LOOP stage at the end -------------------------------------------------------------------------------------- */

static void *loop_setup(size_t size) {
  pipe_ours_t *p = pipe_ours_new((pipe_task_t){0});
  (void)size;
  pipe_ours_sum(p, UVF_STAGE_LOOP);
  return p;
}

static void *arrays_setup(size_t size) { return flow_new(&flow_arrays, PIPE_CAPACITY, 1, size); }

static void *list_setup(size_t size) { return flow_new(&flow_list, PIPE_CAPACITY, 1, size); }

/* --- an ASYNC stage ----------------------------------------------------------------------------------------------- */

static int begin(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  p->numbers[p->nunder_way] = (uintptr_t)item;
  p->under_way[p->nunder_way++] = flow;
  return 0;
}

/* The turn after: what is begun meanwhile waits for the next. */
static void end_all(uv_idle_t *idle) {
  pipe_ours_t *p = idle->data;
  uvf_flow_t *over[PIPE_IN_FLIGHT];
  uintptr_t numbers[PIPE_IN_FLIGHT];
  size_t n = p->nunder_way;
  for (size_t i = 0; i < n; i++) {
    over[i] = p->under_way[i];
    numbers[i] = p->numbers[i];
  }
  p->nunder_way = 0;
  for (size_t i = 0; i < n; i++) {
    bench_must("uvf_emit", uvf_emit(over[i], 0, pipe_item(numbers[i])));
    bench_must("uvf_flow_done", uvf_flow_done(over[i], 0));
  }
}

static void *async_new(size_t in_flight, uint64_t timeout_ms) {
  pipe_ours_t *p = pipe_ours_new((pipe_task_t){0});
  uvf_stage_options_t o;
  uvf_stage_options_init(&o, UVF_STAGE_ASYNC, "start", begin, p);
  o.workers = (unsigned int)in_flight;
  o.item_timeout_ms = timeout_ms;
  pipe_ours_stage(p, &o);
  pipe_ours_sum(p, UVF_STAGE_LOOP);
  bench_must("uv_idle_init", uv_idle_init(&p->b.loop, &p->idle));
  p->idle.data = p;
  bench_must("uv_idle_start", uv_idle_start(&p->idle, end_all));
  return p;
}

static void *async_setup(size_t in_flight) { return async_new(in_flight, 0); }

static void *async_timeout_setup(size_t in_flight) { return async_new(in_flight, BENCH_HOUR_MS); }

static void async_teardown(void *state) {
  pipe_ours_t *p = state;
  uv_close((uv_handle_t *)&p->idle, NULL);
  pipe_ours_delete(p);
}

/* By hand, on one thread: a number is made, its request begun; an idle handle ends all requests and begins as many. */
typedef struct hand_s {
  bench_loop_t b;
  uv_idle_t idle;
  uv_timer_t timers[PIPE_IN_FLIGHT];
  uint64_t numbers[PIPE_IN_FLIGHT];
  size_t in_flight;
  size_t n;
  int timed;
  uint64_t next;
  uint64_t end;
  uint64_t sum;
} hand_t;

static void on_timer(uv_timer_t *timer) {
  (void)timer;
  bench_fail("a timer of one hour has fired", 0);
}

static void hand_begin(hand_t *h) {
  while (h->n < h->in_flight && h->next < h->end) {
    if (h->timed) uv_timer_start(&h->timers[h->n], on_timer, BENCH_HOUR_MS, 0);
    h->numbers[h->n++] = pipe_number(h->next++);
  }
}

static void hand_end(uv_idle_t *idle) {
  hand_t *h = idle->data;
  for (size_t i = 0; i < h->n; i++) {
    if (h->timed) uv_timer_stop(&h->timers[i]);
    h->sum += h->numbers[i];
  }
  h->n = 0;
  hand_begin(h);
  if (h->n == 0) uv_stop(&h->b.loop);
}

static hand_t *hand_new(size_t in_flight, int timed) {
  hand_t *h = bench_alloc(1, sizeof(*h));
  bench_loop_open(&h->b, 0);
  h->in_flight = in_flight;
  h->timed = timed;
  bench_must("uv_idle_init", uv_idle_init(&h->b.loop, &h->idle));
  h->idle.data = h;
  bench_must("uv_idle_start", uv_idle_start(&h->idle, hand_end));
  for (size_t i = 0; i < PIPE_IN_FLIGHT; i++) bench_must("uv_timer_init", uv_timer_init(&h->b.loop, &h->timers[i]));
  return h;
}

static void *hand_setup(size_t in_flight) { return hand_new(in_flight, 0); }

static void *hand_timeout_setup(size_t in_flight) { return hand_new(in_flight, 1); }

static void hand_run(void *state, uint64_t ops, bench_sample_t *s) {
  hand_t *h = state;
  h->next = h->sum = 0;
  h->end = ops;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  hand_begin(h);
  uv_run(&h->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
  pipe_task_t task = {0};
  if (h->sum != pipe_expected(&task, ops)) bench_fail("the requests' sum is wrong", 0);
}

static void hand_teardown(void *state) {
  hand_t *h = state;
  uv_close((uv_handle_t *)&h->idle, NULL);
  for (size_t i = 0; i < PIPE_IN_FLIGHT; i++) uv_close((uv_handle_t *)&h->timers[i], NULL);
  bench_loop_close(&h->b);
  free(h);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const bench_impl_t loop_ours = {"uvflow", loop_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t loop_arrays = {"libuv: arrays, 64 at once", arrays_setup, flow_run, flow_delete};
static const bench_impl_t loop_list = {"libuv: a list, 64 at once", list_setup, flow_run, flow_delete};
static const bench_impl_t async_ours = {"uvflow", async_setup, pipe_ours_run, async_teardown};
static const bench_impl_t async_ours_timeout = {"uvflow", async_timeout_setup, pipe_ours_run, async_teardown};
static const bench_impl_t async_hand = {"libuv: requests by hand, one thread", hand_setup, hand_run, hand_teardown};
static const bench_impl_t async_hand_timeout = {"libuv: the same, a timer each", hand_timeout_setup, hand_run,
                                                hand_teardown};

#define ASYNC_WHAT                                                                                                     \
  "A source on the pool, a stage that starts something on the loop for each item, a stage on the loop that adds up. "  \
  "What is started is over at the loop's next turn, by an idle handle. Timed: from the start to the end of a run, "    \
  "per "                                                                                                               \
  "item. By hand there is no second thread: numbers are made, put into one of 64 requests and added up on the loop. "

const bench_row_t bench_pipe_loop_rows[] = {
    {.name = "pipe-loop",
     .title = "gen on the pool -> sum on the loop",
     .what = "A source on the pool, a stage on the loop that adds up. Timed: from the start to the end of a run, per "
             "item. By hand: a thread that puts its items, 64 at once, into a bounded queue of 128 for the loop, and "
             "tells it by uv_async_send.",
     .impls = {&loop_ours, &loop_arrays, &loop_list},
     .size = FLOW_BATCH,
     .workers = 1},
    {.name = "pipe-async",
     .title = "gen -> something begun and ended on the loop, 64 at once -> sum",
     .what = ASYNC_WHAT,
     .impls = {&async_ours, &async_hand},
     .size = PIPE_IN_FLIGHT,
     .workers = 1},
    {.name = "pipe-async-timeout",
     .title = "the same, each item with a timeout of an hour",
     .what = ASYNC_WHAT "Each item has a context with a deadline of its own; by hand, a timer.",
     .impls = {&async_ours_timeout, &async_hand_timeout},
     .size = PIPE_IN_FLIGHT,
     .workers = 1},
    {.name = NULL},
};
