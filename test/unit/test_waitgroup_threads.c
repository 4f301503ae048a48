/* SPDX-License-Identifier: MIT
 *
 * Wait groups between threads: memory that goes in the last callback, blocked threads, many threads and loops at once.
 */
#include <stdatomic.h>

#include "unit/waitgroup_probe.h"

/* --- memory goes in the last callback --- */

typedef struct heap_s {
  uvf_waitgroup_t group;
  uvf_wait_t wait;
  int *freed;
  gate_t *gate;
} heap_t;

static void free_group(uvf_wait_t *wait, int status) {
  heap_t *heap = wait->data;
  *heap->freed += status == 0;
  memset(heap, 0xdb, sizeof *heap);
  free(heap);
}

static void done_many(void *arg) {
  heap_t *heap = arg;
  gate_t *gate = heap->gate;
  gate_pass(gate);
  (void)uvf_waitgroup_done(&heap->group);
}

/* A wait that is there before, or one that comes while the count goes down: either frees the group at once. */
static void the_last_done_does_not_touch_what_a_callback_has_freed(void **state) {
  fixture_t *f = *state;
  const size_t rounds = test_scaled(600, 6);
  static int freed;
  freed = 0;
  for (size_t round = 0; round < rounds; round++) {
    heap_t *heap = malloc(sizeof *heap);
    uv_thread_t threads[2];
    gate_t gate;
    assert_non_null(heap);
    gate_init(&gate);
    heap->freed = &freed;
    heap->gate = &gate;
    heap->wait.data = heap;
    uvf_waitgroup_init(&heap->group);
    uvf_waitgroup_add(&heap->group, 2);
    uvf_waitgroup_close(&heap->group);
    for (int i = 0; i < 2; i++) assert_int_equal(uv_thread_create(&threads[i], done_many, heap), 0);
    if (round % 2) gate_open(&gate, 2);
    assert_int_equal(uvf_waitgroup_wait(f->root, &heap->wait, &heap->group, free_group), 0);
    if (round % 2 == 0) gate_open(&gate, 2);
    run_until(&f->loop, &freed, (int)round + 1);
    for (int i = 0; i < 2; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
    gate_destroy(&gate);
  }
}

/* --- blocked threads --- */

typedef struct joiner_s {
  uvf_waitgroup_t *group;
  uvf_ctx_t *ctx;
  int status;
  uint64_t returned_ns;
  gate_t returned;
} joiner_t;

static void join_main(void *arg) {
  joiner_t *j = arg;
  j->status = uvf_waitgroup_join(j->ctx, j->group);
  j->returned_ns = uv_hrtime();
  gate_open(&j->returned, 1);
}

static void joiner_start(joiner_t *j, uv_thread_t *thread, uvf_ctx_t *ctx, uvf_waitgroup_t *group) {
  j->group = group;
  j->ctx = ctx;
  j->status = 1;
  gate_init(&j->returned);
  assert_int_equal(uv_thread_create(thread, join_main, j), 0);
}

static int has_waits(const uvf_waitgroup_t *group) {
  return (atomic_load((const _Atomic(uint64_t) *)&group->uvf__word) & 2) != 0;
}

static void await_waits(uvf_waitgroup_t *group) {
  while (!has_waits(group)) uv_sleep(0);
}

static void a_thread_may_block_until_it_is_over_or_its_context_ends(void **state) {
  fixture_t *f = *state;
  for (int ender = 0; ender < 3; ender++) {
    static joiner_t j;
    uv_thread_t thread;
    uvf_waitgroup_t group;
    uint64_t since = uv_hrtime();
    uvf_ctx_t *ctx = ender == 2 ? timeout_of(f->root, 10) : child_of(f->root);
    uvf_waitgroup_init(&group);
    uvf_waitgroup_add(&group, 1);
    uvf_waitgroup_close(&group);
    joiner_start(&j, &thread, ctx, &group);
    if (ender != 2) await_waits(&group);
    if (ender == 0) assert_int_equal(uvf_waitgroup_done(&group), 0);
    if (ender == 1) uvf_ctx_cancel(ctx);
    gate_pass(&j.returned); /* no loop runs here: a deadline is watched by the thread */
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(j.status, ender == 0 ? 0 : ender == 1 ? UV_ECANCELED : UV_ETIMEDOUT);
    if (ender == 2) assert_true(j.returned_ns - since >= 10 * MS_NS);
    assert_false(has_waits(&group)); /* nobody is left in the queue */
    gate_destroy(&j.returned);
    uvf_ctx_release(ctx);
  }
}

static int join_result;
static void join_here(void *arg) {
  void **args = arg;
  join_result = uvf_waitgroup_join(args[0], args[1]);
}

static void on_the_thread_of_a_loop_join_never_blocks(void **state) {
  fixture_t *f = *state;
  for (int over = 0; over < 2; over++) {
    uvf_waitgroup_t group;
    void *args[2] = {f->root, &group};
    uvf_waitgroup_init(&group);
    uvf_waitgroup_add(&group, !over);
    uvf_waitgroup_close(&group);
    turn(&f->loop);
    if (test_rules_on()) {
      const char *rule = test_expect_rule(join_here, args);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_waitgroup_join: ", 20);
    } else {
      join_here(args);
      assert_int_equal(join_result, over ? 0 : UV_EPERM); /* it need not wait */
    }
    assert_false(has_waits(&group));
  }
}

/* --- many threads, two loops --- */

#define THREADS 4

typedef struct swarm_s {
  uvf_waitgroup_t *group;
  atomic_int *under_way;
  int n;
  uint64_t seed;
} swarm_t;

static void swarm_main(void *arg) {
  swarm_t *s = arg;
  for (int i = 0; i < s->n; i++) {
    uvf_waitgroup_entry_t entry;
    int named = test_rand(&s->seed) % 2 == 0;
    atomic_fetch_add(s->under_way, 1);
    if (named) {
      (void)uvf_waitgroup_enter(s->group, &entry, "swarm");
    } else {
      (void)uvf_waitgroup_add(s->group, 1);
    }
    if (test_rand(&s->seed) % 64 == 0) uv_sleep(0);
    atomic_fetch_sub(s->under_way, 1);
    if (named) {
      (void)uvf_waitgroup_leave(&entry);
    } else {
      (void)uvf_waitgroup_done(s->group);
    }
  }
  (void)uvf_waitgroup_done(s->group); /* its own */
}

typedef struct watcher_s {
  uvf_wait_t wait;
  uvf_waitgroup_t *group;
  lane_t *lane;
  atomic_int *under_way;
  int status;
  int seen; /* things under way when it was told: must be none */
  gate_t told;
} watcher_t;

static void on_swarm_over(uvf_wait_t *wait, int status) {
  watcher_t *w = wait->data;
  w->status = status;
  w->seen = atomic_load(w->under_way);
  gate_open(&w->told, 1);
}

static void lane_waits(void *arg) {
  watcher_t *w = arg;
  w->wait.data = w;
  w->status = uvf_waitgroup_wait(w->lane->root, &w->wait, w->group, on_swarm_over);
  if (w->status != 0) gate_open(&w->told, 1);
}

static void threads_loops_and_blocked_threads_all_see_the_same_end(void **state) {
  fixture_t *f = *state;
  const size_t rounds = test_scaled(20, 4);
  uint64_t seed = test_seed();
  lane_t *lanes = calloc(2, sizeof *lanes);
  assert_non_null(lanes);
  for (int i = 0; i < 2; i++) lane_start(&lanes[i]);
  for (size_t round = 0; round < rounds; round++) {
    static swarm_t swarms[THREADS];
    static watcher_t watchers[2];
    static joiner_t joiners[2];
    static waited_t waited;
    uv_thread_t threads[THREADS], blocked[2];
    atomic_int under_way;
    uvf_waitgroup_t group;
    atomic_init(&under_way, 0);
    uvf_waitgroup_init(&group);
    uvf_waitgroup_add(&group, THREADS);
    if (round % 2) uvf_waitgroup_close(&group);
    for (int i = 0; i < 2; i++) {
      watchers[i] = (watcher_t){.group = &group, .lane = &lanes[i], .under_way = &under_way};
      gate_init(&watchers[i].told);
      lane_call(&lanes[i], lane_waits, &watchers[i]);
      joiner_start(&joiners[i], &blocked[i], f->root, &group);
    }
    waited_start(&waited, f->root, &group);
    for (int i = 0; i < THREADS; i++) {
      swarms[i] = (swarm_t){&group, &under_way, (int)test_scaled(5000, 10), test_rand(&seed) | 1};
      assert_int_equal(uv_thread_create(&threads[i], swarm_main, &swarms[i]), 0);
    }
    if (round % 2 == 0) uvf_waitgroup_close(&group);
    run_until(&f->loop, &waited.calls, 1);
    assert_told(&waited, 0);
    assert_int_equal(atomic_load(&under_way), 0);
    for (int i = 0; i < 2; i++) {
      gate_pass(&watchers[i].told);
      assert_int_equal(watchers[i].status, 0);
      assert_int_equal(watchers[i].seen, 0);
      gate_pass(&joiners[i].returned);
      assert_int_equal(joiners[i].status, 0);
      assert_int_equal(uv_thread_join(&blocked[i]), 0);
      gate_destroy(&watchers[i].told);
      gate_destroy(&joiners[i].returned);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(uvf_waitgroup_count(&group), 0);
    assert_int_equal(uvf_waitgroup_names(&group, NULL, 0, NULL), 0);
    assert_false(has_waits(&group));
  }
  for (int i = 0; i < 2; i++) lane_stop(&lanes[i]);
  free(lanes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_last_done_does_not_touch_what_a_callback_has_freed),
      unit(a_thread_may_block_until_it_is_over_or_its_context_ends),
      unit(on_the_thread_of_a_loop_join_never_blocks),
      unit(threads_loops_and_blocked_threads_all_see_the_same_end),
  };
  return test_run(tests);
}
