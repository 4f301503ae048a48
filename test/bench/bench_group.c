/* SPDX-License-Identifier: MIT
 *
 * Groups: 100 tasks started, and one wait for all of them.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct team_s team_t;

typedef struct member_s {
  team_t *team;
  uvf_task_t task;
  uv_work_t req; /* raw */
  struct member_s *next;
} member_t;

struct team_s {
  bench_loop_t b;
  member_t *members;
  size_t n;
  uvf_group_t group;
  uvf_wait_t wait;
  /* raw */
  uv_idle_t idle;
  member_t *due;
  size_t running;
  int err;
};

static team_t *team_new(size_t size, int with_root) {
  team_t *t = bench_alloc(1, sizeof(*t));
  bench_loop_open(&t->b, with_root);
  t->members = bench_alloc(size, sizeof(*t->members));
  t->n = size;
  for (size_t i = 0; i < size; i++) t->members[i].team = t;
  bench_must("uv_idle_init", uv_idle_init(&t->b.loop, &t->idle));
  t->idle.data = t;
  t->wait.data = t;
  return t;
}

static void *ours_setup(size_t size) { return team_new(size, 1); }
static void *raw_setup(size_t size) { return team_new(size, 0); }

static void team_teardown(void *state) {
  team_t *t = state;
  uv_close((uv_handle_t *)&t->idle, NULL);
  bench_loop_close(&t->b);
  free(t->members);
  free(t);
}

static void team_run(void *state, uint64_t ops, void (*round)(team_t *t), bench_sample_t *s) {
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) round(state);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

static void on_all(uvf_wait_t *wait, int status) {
  team_t *t = wait->data;
  bench_must("a group's status", status);
  uv_stop(&t->b.loop);
}

static int nothing(uvf_task_t *task) {
  (void)task;
  return 0;
}

static void on_start(uvf_task_t *task) { bench_must("uvf_task_done", uvf_task_done(task, 0)); }

static void ours_wait(team_t *t) {
  bench_must("uvf_group_wait", uvf_group_wait(t->b.root, &t->wait, &t->group, on_all));
  uv_run(&t->b.loop, UV_RUN_DEFAULT);
  bench_must("uvf_group_close", uvf_group_close(&t->group));
}

static void ours_loop(team_t *t) {
  bench_must("uvf_group_init", uvf_group_init(&t->group, t->b.root, 0));
  for (size_t i = 0; i < t->n; i++) {
    bench_must("uvf_group_go_loop", uvf_group_go_loop(&t->group, &t->members[i].task, on_start, NULL));
  }
  ours_wait(t);
}

static void ours_pool(team_t *t) {
  bench_must("uvf_group_init", uvf_group_init(&t->group, t->b.root, 0));
  for (size_t i = 0; i < t->n; i++) {
    bench_must("uvf_group_go", uvf_group_go(&t->group, &t->members[i].task, nothing, NULL));
  }
  ours_wait(t);
}

static void ours_loop_run(void *state, uint64_t ops, bench_sample_t *s) { team_run(state, ops, ours_loop, s); }
static void ours_pool_run(void *state, uint64_t ops, bench_sample_t *s) { team_run(state, ops, ours_pool, s); }

/* --- raw ---------------------------------------------------------------------------------------------------------- */

static void raw_ended(team_t *t, int status) {
  if (status && !t->err) t->err = status;
  if (--t->running == 0) {
    bench_must("the first error", t->err);
    uv_stop(&t->b.loop);
  }
}

/* Every task's start, from the loop; here each is over at once. */
static void raw_idle(uv_idle_t *idle) {
  team_t *t = idle->data;
  uv_idle_stop(idle);
  while (t->due) {
    member_t *m = t->due;
    t->due = m->next;
    raw_ended(m->team, 0);
  }
}

static void raw_loop(team_t *t) {
  member_t **end = &t->due;
  t->err = 0;
  for (size_t i = 0; i < t->n; i++) {
    t->members[i].next = NULL;
    *end = &t->members[i];
    end = &t->members[i].next;
    t->running++;
  }
  uv_idle_start(&t->idle, raw_idle);
  uv_run(&t->b.loop, UV_RUN_DEFAULT);
}

static void raw_nothing(uv_work_t *req) { (void)req; }

static void raw_done(uv_work_t *req, int status) {
  member_t *m = req->data;
  raw_ended(m->team, status);
}

static void raw_pool(team_t *t) {
  t->err = 0;
  for (size_t i = 0; i < t->n; i++) {
    t->members[i].req.data = &t->members[i];
    t->running++;
    bench_must("uv_queue_work", uv_queue_work(&t->b.loop, &t->members[i].req, raw_nothing, raw_done));
  }
  uv_run(&t->b.loop, UV_RUN_DEFAULT);
}

static void raw_loop_run(void *state, uint64_t ops, bench_sample_t *s) { team_run(state, ops, raw_loop, s); }
static void raw_pool_run(void *state, uint64_t ops, bench_sample_t *s) { team_run(state, ops, raw_pool, s); }

static const bench_impl_t ours_on_loop = {"uvflow", ours_setup, ours_loop_run, team_teardown};
static const bench_impl_t raw_on_loop = {"libuv: list, counter, idle handle", raw_setup, raw_loop_run, team_teardown};
static const bench_impl_t ours_on_pool = {"uvflow", ours_setup, ours_pool_run, team_teardown};
static const bench_impl_t raw_on_pool = {"libuv: uv_queue_work, counter", raw_setup, raw_pool_run, team_teardown};

#define POOL_WHAT                                                                                                      \
  "Timed: a group is made, 100 empty tasks are started on the pool, waited for, and the group is closed; the figure "  \
  "is for all of that. Raw: 100 times uv_queue_work and a counter. The pool has one thread more than there are "       \
  "workers; uv_queue_work uses that one too."

const bench_row_t bench_group_rows[] = {
    {.name = "group-loop-100",
     .title = "group of 100 tasks on the loop, all of it",
     .what =
         "Timed: a group is made, 100 tasks are started on the loop, each of which says in its start callback that it "
         "is done, they are waited for, and the group is closed; the figure is for all of that. Raw: a list of tasks "
         "that an idle handle's callback goes through, and a counter: nothing can be cancelled, and no task can "
         "wait for its turn.",
     .peer = "libdill 6,164",
     .goal = 5000,
     .impls = {&ours_on_loop, &raw_on_loop},
     .size = 100,
     .flags = BENCH_SIDE},
    {.name = "group-pool-100-w1",
     .title = "group of 100 empty pool tasks, 1 worker",
     .what = POOL_WHAT,
     .goal = 20000,
     .impls = {&ours_on_pool, &raw_on_pool},
     .size = 100,
     .workers = 1},
    {.name = "group-pool-100-w4",
     .title = "group of 100 empty pool tasks, 4 workers",
     .what = POOL_WHAT,
     .impls = {&ours_on_pool, &raw_on_pool},
     .size = 100,
     .workers = 4},
    {.name = NULL},
};
