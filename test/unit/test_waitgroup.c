/* SPDX-License-Identifier: MIT
 *
 * Wait groups: count, close, reopen and waits as a table; waits under deadlines; names; blocked threads; many threads
 * and loops at once; and memory that goes in the last callback.
 */
#include <stdatomic.h>

#include "unit/probe.h"

typedef struct waited_s {
  uvf_wait_t wait;
  int calls;
  int status;
  int *total;
} waited_t;

static void on_waited(uvf_wait_t *wait, int status) {
  waited_t *waited = wait->data;
  waited->calls++;
  waited->status = status;
  if (waited->total != NULL) ++*waited->total;
}

static void waited_start(waited_t *waited, uvf_ctx_t *ctx, uvf_waitgroup_t *group) {
  int *total = waited->total;
  memset(waited, 0xff, sizeof *waited);
  waited->wait.data = waited;
  waited->calls = 0;
  waited->total = total;
  assert_int_equal(uvf_waitgroup_wait(ctx, &waited->wait, group, on_waited), 0);
  assert_int_equal(waited->calls, 0); /* never inside */
}

#define assert_told(waited, wanted)                                                                                    \
  do {                                                                                                                 \
    assert_int_equal((waited)->calls, 1);                                                                              \
    assert_int_equal((waited)->status, (wanted));                                                                      \
  } while (0)

/* --- the table --- */

typedef struct step_s {
  char what; /* + add, - done, c close, r reopen, w a wait starts, t the loop turns */
  int result;
  int told; /* waits that have been told by then */
} step_t;

typedef struct story_s {
  const char *name;
  step_t steps[12];
} story_t;

static const story_t stories[] = {
    {"open and empty: waits", {{'w', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"closed and empty: over at once", {{'c', 1, 0}, {'w', 0, 0}, {'t', 0, 1}}},
    {"open: nobody is told at zero", {{'w', 0, 0}, {'+', 0, 0}, {'-', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"closed: the last one tells",
     {{'+', 0, 0}, {'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'-', 0, 0}, {'t', 0, 0}, {'-', 0, 0}, {'t', 0, 1}}},
    {"closed: things still come", {{'c', 1, 0}, {'+', 0, 0}, {'w', 0, 0}, {'t', 0, 0}, {'-', 0, 0}, {'t', 0, 1}}},
    {"closed twice", {{'c', 1, 0}, {'c', 0, 0}, {'w', 0, 0}, {'t', 0, 1}}},
    {"reopened: waits again",
     {{'c', 1, 0}, {'r', 1, 0}, {'r', 0, 0}, {'w', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"told at birth stays told when reopened", {{'c', 1, 0}, {'w', 0, 0}, {'r', 1, 0}, {'t', 0, 1}}},
    {"told by the last stays told when one comes",
     {{'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'-', 0, 0}, {'+', 0, 0}, {'t', 0, 1}}},
    {"told by close stays told when reopened", {{'w', 0, 0}, {'c', 1, 0}, {'r', 1, 0}, {'+', 0, 0}, {'t', 0, 1}}},
    {"those that wait again after that wait",
     {{'w', 0, 0}, {'c', 1, 0}, {'+', 0, 0}, {'w', 0, 0}, {'t', 0, 1}, {'-', 0, 1}, {'t', 0, 2}}},
    {"reopened with something left: close tells",
     {{'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'r', 1, 0}, {'-', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
};

static int tell_step(uvf_waitgroup_t *group, waited_t *waited, uvf_ctx_t *ctx, uv_loop_t *loop, char what) {
  switch (what) {
    case '+': return uvf_waitgroup_add(group, 1);
    case '-': return uvf_waitgroup_done(group);
    case 'c': return uvf_waitgroup_close(group);
    case 'r': return uvf_waitgroup_reopen(group);
    case 'w': waited_start(waited, ctx, group); return 0;
    default: turn(loop); return 0;
  }
}

static void waits_are_told_when_it_is_closed_and_empty_and_stay_told(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(stories); i++) {
    static waited_t waits[4];
    uvf_waitgroup_t group;
    uint64_t count = 0;
    int closed = 0, told = 0, nwaits = 0;
    memset(waits, 0, sizeof waits);
    printf("%s\n", stories[i].name);
    uvf_waitgroup_init(&group);
    for (const step_t *s = stories[i].steps; s->what != 0; s++) {
      waits[nwaits].total = &told;
      assert_int_equal(tell_step(&group, &waits[nwaits], f->root, &f->loop, s->what), s->result);
      nwaits += s->what == 'w';
      count += s->what == '+';
      count -= s->what == '-';
      closed = s->what == 'c' || (closed && s->what != 'r');
      assert_int_equal(told, s->told);
      assert_int_equal(uvf_waitgroup_count(&group), count);
      assert_int_equal(uvf_waitgroup_is_closed(&group), closed);
    }
    for (int w = 0; w < nwaits; w++) assert_told(&waits[w], 0);
  }
}

static void zeroed_memory_is_an_open_one_with_nothing_in_it(void **state) {
  fixture_t *f = *state;
  static uvf_waitgroup_t group;
  static waited_t waited;
  waited_start(&waited, f->root, &group);
  assert_int_equal(uvf_waitgroup_add(&group, 3), 0);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  for (int i = 0; i < 3; i++) {
    turn(&f->loop);
    assert_int_equal(waited.calls, 0);
    assert_int_equal(uvf_waitgroup_done(&group), 0);
  }
  run_until(&f->loop, &waited.calls, 1);
  assert_told(&waited, 0);
}

/* --- waits that end otherwise --- */

static void a_shutdown_that_takes_too_long_says_so_and_may_be_waited_for_once_more(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_ctx_t *soon;
  static waited_t waits[3];
  uint64_t since = uv_hrtime();
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_add(&group, 1), 0);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  soon = timeout_of(f->root, 5);
  waited_start(&waits[0], soon, &group);
  waited_start(&waits[1], f->root, &group);
  run_until(&f->loop, &waits[0].calls, 1);
  assert_true(uv_hrtime() - since >= 5 * MS_NS);
  assert_told(&waits[0], UV_ETIMEDOUT);
  assert_int_equal(uvf_waitgroup_count(&group), 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[1].wait), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[1].wait), UV_EBUSY);
  waited_start(&waits[2], f->root, &group);
  run_until(&f->loop, &waits[1].calls, 1);
  assert_told(&waits[1], UV_ECANCELED);
  assert_int_equal(waits[2].calls, 0);
  assert_int_equal(uvf_waitgroup_done(&group), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[2].wait), UV_EBUSY); /* told stays told */
  run_until(&f->loop, &waits[2].calls, 1);
  assert_told(&waits[2], 0);
  waited_start(&waits[0], soon, &group); /* its context is over: nothing is learnt of the group */
  run_until(&f->loop, &waits[0].calls, 1);
  assert_told(&waits[0], UV_ETIMEDOUT);
  uvf_ctx_release(soon);
}

/* Ended by: the group, a cancel, the parent's cancel, the root's close; each before and after the group was over. */
static void a_wait_ends_once_whoever_comes_first(void **state) {
  fixture_t *f = *state;
  for (int ender = 0; ender < 3; ender++) {
    for (int over_first = 0; over_first < 2; over_first++) {
      uvf_waitgroup_t group;
      static waited_t waited;
      uvf_ctx_t *root;
      uvf_ctx_t *ctx;
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      ctx = child_of(root);
      uvf_waitgroup_init(&group);
      uvf_waitgroup_add(&group, 1);
      uvf_waitgroup_close(&group);
      waited_start(&waited, ctx, &group);
      if (over_first) uvf_waitgroup_done(&group);
      if (ender == 0) assert_int_equal(uvf_op_cancel((uvf_op_t *)&waited.wait), over_first ? UV_EBUSY : 0);
      if (ender == 1) uvf_ctx_cancel(ctx);
      if (ender == 2) uvf_ctx_close(root, NULL);
      assert_int_equal(waited.calls, 0);
      if (!over_first) uvf_waitgroup_done(&group);
      run_until(&f->loop, &waited.calls, 1);
      turn(&f->loop);
      assert_told(&waited, over_first ? 0 : UV_ECANCELED);
      uvf_ctx_release(ctx);
      if (ender != 2) uvf_ctx_close(root, NULL);
      turn(&f->loop);
    }
  }
}

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

/* --- names --- */

static void what_is_under_way_can_be_named(void **state) {
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t a, b, c;
  const char *names[4];
  size_t n = 9;
  char text[256] = {0};
  FILE *out = tmpfile();
  (void)state;
  memset(&a, 0xff, sizeof a);
  memset(&b, 0xff, sizeof b);
  memset(&c, 0xff, sizeof c);
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_enter(&group, &a, "a"), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &b, NULL), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &c, "c"), 0);
  assert_int_equal(uvf_waitgroup_add(&group, 2), 0);
  assert_ptr_equal(a.group, &group);
  assert_int_equal(uvf_waitgroup_names(&group, names, 4, &n), 5);
  assert_int_equal(n, 3);
  assert_string_equal(names[0], "c");
  assert_null(names[1]);
  assert_string_equal(names[2], "a");
  assert_int_equal(uvf_waitgroup_names(&group, names, 1, &n), 5);
  assert_int_equal(n, 1);
  assert_int_equal(uvf_waitgroup_names(&group, NULL, 0, NULL), 5);
  assert_non_null(out);
  uvf_waitgroup_dump(&group, out);
  assert_int_equal(uvf_waitgroup_leave(&c), 0);
  assert_null(c.group);
  assert_int_equal(uvf_waitgroup_leave(&b), 0);
  assert_int_equal(uvf_waitgroup_names(&group, names, 4, &n), 3);
  assert_int_equal(n, 1);
  assert_string_equal(names[0], "a");
  uvf_waitgroup_dump(&group, out);
  assert_int_equal(uvf_waitgroup_leave(&a), 0);
  assert_int_equal(uvf_waitgroup_count(&group), 2);
  rewind(out);
  assert_true(fread(text, 1, sizeof text - 1, out) > 0);
  assert_string_equal(text, "under way: c\nunder way: a\n3 others under way\nunder way: a\n2 others under way\n");
  fclose(out);
}

static void the_last_one_that_leaves_tells_as_a_done_does(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  static waited_t waited;
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "one"), 0);
  waited_start(&waited, f->root, &group);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  turn(&f->loop);
  assert_int_equal(waited.calls, 0);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "again"), 0);
  run_until(&f->loop, &waited.calls, 1);
  assert_told(&waited, 0);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
}

static void a_dump_of_more_than_are_at_hand_takes_memory_or_does_without(void **state) {
  uvf_waitgroup_t group;
  static uvf_waitgroup_entry_t entries[200];
  (void)state;
  uvf_waitgroup_init(&group);
  for (int i = 0; i < 200; i++) assert_int_equal(uvf_waitgroup_enter(&group, &entries[i], "x"), 0);
  for (int fail = 0; fail < 2; fail++) {
    FILE *out = tmpfile();
    char line[64], last[64] = "";
    int lines = 0;
    assert_non_null(out);
    test_alloc_fail_at(fail ? 1 : 0);
    uvf_waitgroup_dump(&group, out);
    assert_int_equal(test_alloc_failed(), fail);
    test_alloc_fail_at(0);
    rewind(out);
    while (fgets(line, sizeof line, out) != NULL) {
      lines++;
      strcpy(last, line);
    }
    assert_int_equal(lines, fail ? 65 : 201);
    assert_string_equal(last, fail ? "136 others under way\n" : "0 others under way\n");
    fclose(out);
  }
  for (int i = 0; i < 200; i++) assert_int_equal(uvf_waitgroup_leave(&entries[(i * 7) % 200]), 0);
  assert_int_equal(uvf_waitgroup_count(&group), 0);
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

/* --- misuse --- */

static void bad_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  uvf_wait_t wait;
  size_t n = 7;
  uvf_waitgroup_init(NULL);
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_add(NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_add(&group, 0), 0);
  assert_int_equal(uvf_waitgroup_add(&group, (UINT64_MAX >> 2) + 1), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_add(&group, UINT64_MAX >> 2), 0);
  assert_int_equal(uvf_waitgroup_add(&group, 1), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "x"), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_names(&group, NULL, 0, &n), UINT64_MAX >> 2);
  assert_int_equal(n, 0);
  assert_int_equal(uvf_waitgroup_is_closed(&group), 0);
  assert_int_equal(uvf_waitgroup_done(NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_enter(NULL, &entry, "x"), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_enter(&group, NULL, "x"), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_leave(NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_close(NULL), 0);
  assert_int_equal(uvf_waitgroup_reopen(NULL), 0);
  assert_int_equal(uvf_waitgroup_is_closed(NULL), 0);
  assert_int_equal(uvf_waitgroup_count(NULL), 0);
  assert_int_equal(uvf_waitgroup_names(NULL, NULL, 0, &n), 0);
  uvf_waitgroup_dump(NULL, stderr);
  uvf_waitgroup_dump(&group, NULL);
  assert_int_equal(uvf_waitgroup_wait(NULL, &wait, &group, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, NULL, &group, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, &wait, NULL, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, &wait, &group, NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_join(NULL, &group), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_join(f->root, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static int misuse_result;
static void done_too_often(void *arg) { misuse_result = uvf_waitgroup_done(arg); }
static void leave_again(void *arg) { misuse_result = uvf_waitgroup_leave(arg); }
static void enter_again(void *arg) {
  uvf_waitgroup_entry_t *entry = arg;
  misuse_result = uvf_waitgroup_enter(entry->group, entry, "twice");
}

static void expect_misuse(void (*fn)(void *), void *arg, const char *function) {
  if (test_rules_on()) {
    const char *rule = test_expect_rule(fn, arg);
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
  } else {
    misuse_result = 1;
    fn(arg);
    assert_int_equal(misuse_result, UV_EINVAL);
  }
}

static void misuse_is_named_in_debug_builds_and_refused_in_others(void **state) {
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  (void)state;
  uvf_waitgroup_init(&group);
  expect_misuse(done_too_often, &group, "uvf_waitgroup_done: ");
  uvf_waitgroup_close(&group);
  expect_misuse(done_too_often, &group, "uvf_waitgroup_done: ");
  assert_int_equal(uvf_waitgroup_count(&group), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "once"), 0);
  if (test_rules_on()) expect_misuse(enter_again, &entry, "uvf_waitgroup_enter: "); /* a release build cannot tell */
  assert_int_equal(uvf_waitgroup_count(&group), 1);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
  expect_misuse(leave_again, &entry, "uvf_waitgroup_leave: ");
  assert_int_equal(uvf_waitgroup_count(&group), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(waits_are_told_when_it_is_closed_and_empty_and_stay_told),
      unit(zeroed_memory_is_an_open_one_with_nothing_in_it),
      unit(a_shutdown_that_takes_too_long_says_so_and_may_be_waited_for_once_more),
      unit(a_wait_ends_once_whoever_comes_first),
      unit(the_last_done_does_not_touch_what_a_callback_has_freed),
      unit(what_is_under_way_can_be_named),
      unit(the_last_one_that_leaves_tells_as_a_done_does),
      unit(a_dump_of_more_than_are_at_hand_takes_memory_or_does_without),
      unit(a_thread_may_block_until_it_is_over_or_its_context_ends),
      unit(on_the_thread_of_a_loop_join_never_blocks),
      unit(threads_loops_and_blocked_threads_all_see_the_same_end),
      unit(bad_arguments_are_refused),
      unit(misuse_is_named_in_debug_builds_and_refused_in_others),
  };
  return test_run(tests);
}
