/* SPDX-License-Identifier: MIT
 *
 * Who is served when there is more to do than anybody can: nobody is forgotten. Most of it on one thread, where a wrong
 * choice is made for ever.
 */
#include "unit/flow_nodes.h"

#define ENOUGH 1000

/* --- sources that never end by themselves --- */

static struct {
  atomic_int calls[2];
  atomic_int handled[2];
  atomic_int over;
  int emitted_at, handled_at; /* calls of the source */
  atomic_int emitted;
} fair;

static void begin_fair(unsigned int limit) {
  memset(&fair, 0, sizeof fair);
  assert_int_equal(uvf_work_set_limit(limit), 0);
  begin();
}

static void end_fair(void) {
  end();
  assert_int_equal(uvf_work_set_limit(0), 0);
}

/* Seldom has something to emit, and is cheap. */
static int polls(uvf_flow_t *flow, void *item) {
  int call = atomic_fetch_add(&fair.calls[0], 1) + 1;
  (void)item;
  if (atomic_load(&fair.over)) return UV_EOF;
  return call % 200 == 0 ? item_pass(flow, 0, item_born()) : 0;
}

static int has_had_enough(uvf_flow_t *flow, void *item) {
  (void)flow;
  item_end(item);
  if (atomic_fetch_add(&fair.handled[0], 1) + 1 == 5) atomic_store(&fair.over, 1);
  return 0;
}

static void what_a_source_emits_is_handled_though_the_source_is_always_ready(void **state) {
  fixture_t *f = *state;
  for (unsigned int workers = 1; workers <= 3; workers++) {
    for (unsigned int limit = 0; limit <= 1; limit++) {
      begin_fair(limit);
      node(UVF_STAGE_SOURCE)->o.fn = polls;
      node(UVF_STAGE_WORK)->o.fn = has_had_enough;
      k.n[1].o.workers = workers;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_true(atomic_load(&fair.handled[0]) >= 5);
      end_fair();
    }
  }
}

/* --- several that feed one --- */

static int emits_its_number(uvf_flow_t *flow, void *item) {
  size_t number = flow->stage->index;
  (void)item;
  if (atomic_load(&fair.over)) return UV_EOF;
  atomic_fetch_add(&fair.calls[number], 1);
  return uvf_emit(flow, 0, (void *)number);
}

static int passes(uvf_flow_t *flow, void *item) { return uvf_emit(flow, 0, item); }

static int counts_by_number(uvf_flow_t *flow, void *item) {
  const node_t *n = flow->data;
  burn(n->jitter_ns);
  atomic_fetch_add(&fair.handled[id_of(item)], 1);
  if (atomic_load(&fair.handled[0]) + atomic_load(&fair.handled[1]) >= ENOUGH) atomic_store(&fair.over, 1);
  return 0;
}

static void assert_shared(const atomic_int *of) {
  int a = atomic_load(&of[0]);
  int b = atomic_load(&of[1]);
  fprintf(stderr, "DBG %d %d\n", a, b);
  assert_true(a + b >= ENOUGH);
  assert_true(a >= b / 4);
  assert_true(b >= a / 4);
}

static void two_endless_sources_share_the_queue_of_a_slow_stage(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 8; i++) {
    begin_fair(i & 4 ? 0 : 1);
    for (int s = 0; s < 2; s++) node(UVF_STAGE_SOURCE)->o.fn = emits_its_number;
    node(i & 2 ? UVF_STAGE_LOOP : UVF_STAGE_WORK)->o.fn = counts_by_number;
    k.n[2].o.workers = i & 1 ? 2 : 1;
    k.n[2].o.capacity = 8;
    k.n[2].o.drop = NULL;
    k.n[2].jitter_ns = 30000;
    add_all();
    for (int s = 0; s < 2; s++) assert_int_equal(uvf_pipeline_chain(k.n[s].stage, k.n[2].stage), 0);
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_shared(fair.handled);
    assert_shared(fair.calls);
    end_fair();
  }
}

/* Each has a stage of its own before they meet; and on the loop, sources of the loop. */
static void two_branches_share_the_queue_of_the_slow_stage_where_they_meet(void **state) {
  fixture_t *f = *state;
  for (int on_loop = 0; on_loop < 2; on_loop++) {
    begin_fair(1);
    for (int s = 0; s < 2; s++) source(on_loop ? UVF_STAGE_LOOP : UVF_STAGE_SOURCE, 0)->o.fn = emits_its_number;
    for (int s = 0; s < 2; s++) node(on_loop ? UVF_STAGE_LOOP : UVF_STAGE_WORK)->o.fn = passes;
    node(on_loop ? UVF_STAGE_LOOP : UVF_STAGE_WORK)->o.fn = counts_by_number;
    for (int s = 2; s < 5; s++) {
      k.n[s].o.capacity = 8;
      k.n[s].o.drop = NULL;
    }
    k.n[4].jitter_ns = 30000;
    add_all();
    for (int s = 0; s < 4; s++) {
      assert_int_equal(uvf_pipeline_chain(k.n[s].stage, k.n[s < 2 ? s + 2 : 4].stage), 0);
    }
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_shared(fair.handled);
    end_fair();
  }
}

/* --- a side sink --- */

#define TAUGHT 40 /* items from which it is learned that the sink is cheap */

/* To port 1 until it is known what those cost; then one more, and everything else to port 0. */
static int emits_one_to_the_side(uvf_flow_t *flow, void *item) {
  const node_t *n = flow->data;
  int call = atomic_fetch_add(&fair.calls[0], 1) + 1;
  (void)item;
  if (atomic_load(&fair.over)) return UV_EOF;
  burn(n->jitter_ns);
  if (atomic_load(&fair.emitted) < TAUGHT) {
    for (int i = 0; i < TAUGHT; i++) uvf_emit(flow, 1, NULL);
    atomic_store(&fair.emitted, TAUGHT);
    return 0;
  }
  if (atomic_load(&fair.handled[1]) == TAUGHT && atomic_load(&fair.emitted) == TAUGHT) {
    fair.emitted_at = call;
    atomic_store(&fair.emitted, TAUGHT + 1);
    return uvf_emit(flow, 1, NULL);
  }
  return uvf_emit(flow, 0, NULL);
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

static int counts_on_the_side(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  if (atomic_fetch_add(&fair.handled[1], 1) + 1 <= TAUGHT) return 0;
  fair.handled_at = atomic_load(&fair.calls[0]);
  atomic_store(&fair.over, 1);
  return 0;
}

static void run_with_side(fixture_t *f, int kind, uint64_t call_ns) {
  begin_fair(1);
  source(kind, 0)->o.fn = emits_one_to_the_side;
  k.n[0].jitter_ns = call_ns;
  node(kind == UVF_STAGE_LOOP ? UVF_STAGE_LOOP : UVF_STAGE_WORK)->o.fn = swallows;
  node(kind == UVF_STAGE_LOOP ? UVF_STAGE_LOOP : UVF_STAGE_WORK)->o.fn = counts_on_the_side;
  add_all();
  for (int s = 1; s < 3; s++) assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[s].stage), 0);
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  end_fair();
}

static void a_single_item_for_a_cheap_side_sink_is_handled_while_the_main_one_is_busy(void **state) {
  run_with_side(*state, UVF_STAGE_SOURCE, 0);
  run_with_side(*state, UVF_STAGE_LOOP, 0);
}

/* Where calls take long it does not wait for many of them. */
static void it_does_not_wait_for_many_calls_that_take_long(void **state) {
  static const int of[] = {UVF_STAGE_SOURCE, UVF_STAGE_LOOP};
  for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
    run_with_side(*state, of[i], 300000);
    fprintf(stderr, "DBG side %d\n", fair.handled_at - fair.emitted_at);
    assert_true(fair.handled_at - fair.emitted_at <= 4);
  }
}

/* --- turns of the loop --- */

static struct {
  uv_check_t check;
  int calls, most;
} turns;

static void on_check(uv_check_t *check) {
  (void)check;
  if (turns.calls > turns.most) turns.most = turns.calls;
  turns.calls = 0;
}

static int takes_its_time(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  burn(300000);
  turns.calls++;
  if (atomic_fetch_add(&fair.handled[0], 1) + 1 == 300) atomic_store(&fair.over, 1);
  return 0;
}

static int emits_for_ever(uvf_flow_t *flow, void *item) {
  (void)item;
  return atomic_load(&fair.over) ? UV_EOF : uvf_emit(flow, 0, NULL);
}

/* A millisecond of each turn is its share: four of these calls, and one that was begun. It is delivered anew whenever a
 * thread of the pool has brought something, but has no more for that. */
static void in_a_turn_of_the_loop_a_pipeline_has_its_share_once(void **state) {
  fixture_t *f = *state;
  memset(&turns, 0, sizeof turns);
  begin_fair(0);
  uv_check_init(&f->loop, &turns.check);
  uv_check_start(&turns.check, on_check);
  node(UVF_STAGE_SOURCE)->o.fn = emits_for_ever;
  node(UVF_STAGE_LOOP)->o.fn = takes_its_time;
  k.n[1].o.capacity = 4;
  k.n[1].o.drop = NULL;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
fprintf(stderr, "DBG turns %d\n", turns.most);
  assert_true(turns.most > 0);
  assert_true(turns.most <= 8);
  uv_close((uv_handle_t *)&turns.check, NULL);
  run_ready(&f->loop);
  end_fair();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(what_a_source_emits_is_handled_though_the_source_is_always_ready),
      unit(two_endless_sources_share_the_queue_of_a_slow_stage),
      unit(two_branches_share_the_queue_of_the_slow_stage_where_they_meet),
      unit(a_single_item_for_a_cheap_side_sink_is_handled_while_the_main_one_is_busy),
      unit(it_does_not_wait_for_many_calls_that_take_long),
      unit(in_a_turn_of_the_loop_a_pipeline_has_its_share_once),
  };
  return test_run(tests);
}
