/* SPDX-License-Identifier: MIT
 *
 * Who is served when there is more to do than anybody can: nobody is forgotten. Most of it on one thread, where a wrong
 * choice is made for ever.
 */
#include "unit/flow_nodes.h"
#include "kernel/context.h"

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

/* Has one thing to emit, and is cheap. */
static int polls(uvf_flow_t *flow, void *item) {
  int call = atomic_fetch_add(&fair.calls[0], 1) + 1;
  (void)item;
  if (atomic_load(&fair.over)) return UV_EOF;
  return call == 200 ? item_pass(flow, 0, item_born()) : 0;
}

static int ends_the_polling(uvf_flow_t *flow, void *item) {
  (void)flow;
  item_end(item);
  atomic_store(&fair.over, 1);
  return 0;
}

static void what_a_source_has_emitted_is_handled_though_it_may_be_called_again_and_again(void **state) {
  fixture_t *f = *state;
  for (unsigned int workers = 1; workers <= 3; workers++) {
    for (unsigned int limit = 0; limit <= 1; limit++) {
      begin_fair(limit);
      node(UVF_STAGE_SOURCE)->o.fn = polls;
      node(UVF_STAGE_WORK)->o.fn = ends_the_polling;
      k.n[1].o.workers = workers;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_int_equal(k.n[1].stage->done, 1);
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

static int emits_for_ever(uvf_flow_t *flow, void *item) {
  (void)item;
  return atomic_load(&fair.over) ? UV_EOF : uvf_emit(flow, 0, NULL);
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
    assert_true(fair.handled_at - fair.emitted_at <= 4);
  }
}

static int ends_the_run_at_last(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  if (atomic_fetch_add(&fair.handled[0], 1) + 1 == ENOUGH) uvf_pipeline_cancel(k.p);
  return 0;
}

/* Whose turn it is, but who may not: there was one token, and there will be none. */
static void a_source_that_waits_for_a_token_holds_up_no_other(void **state) {
  static const int of[] = {UVF_STAGE_SOURCE, UVF_STAGE_LOOP};
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    uvf_limiter_t limiter;
    assert_int_equal(uvf_limiter_init(&limiter, 0, 1), 0);
    begin_fair(1);
    for (int s = 0; s < 2; s++) source(of[i / 2], 0)->o.fn = emits_for_ever;
    node(UVF_STAGE_LOOP)->o.fn = ends_the_run_at_last;
    node(UVF_STAGE_LOOP)->o.fn = swallows;
    for (int s = 2; s < 4; s++) k.n[s].o.drop = NULL;
    k.n[i % 2].o.limiter = &limiter;
    add_all();
    for (int s = 0; s < 2; s++) {
      int to = s == i % 2 ? 3 : 2; /* the limited one's has but one item */
      assert_int_equal(uvf_pipeline_chain(k.n[s].stage, k.n[to].stage), 0);
    }
    assert_int_equal(run_to_end(f, f->root, k.p), UV_ECANCELED);
    assert_true(atomic_load(&fair.handled[0]) >= ENOUGH);
    assert_int_equal(k.n[3].stage->in, 1);
    assert_balanced(k.p);
    assert_int_equal(uvf_pipeline_destroy(k.p), 0);
    gate_destroy(&k.gate);
    assert_int_equal(uvf_work_set_limit(0), 0);
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

/* --- turns of the loop --- */

static struct {
  uint64_t turn;
  int calls, most;
} turns;

static int takes_its_time(uvf_flow_t *flow, void *item) {
  uint64_t turn = uvf__ctx_hub(flow->ctx)->turn;
  (void)item;
  if (turn != turns.turn) turns.calls = 0;
  turns.turn = turn;
  if (++turns.calls > turns.most) turns.most = turns.calls;
  burn(300000);
  if (atomic_fetch_add(&fair.handled[0], 1) + 1 == 300) atomic_store(&fair.over, 1);
  return 0;
}

/* A millisecond of each turn is its share: four of these calls may begin in it. It is delivered anew whenever a thread of
 * the pool has brought something, but has no more for that. */
static void in_a_turn_of_the_loop_a_pipeline_has_its_share_once(void **state) {
  fixture_t *f = *state;
  memset(&turns, 0, sizeof turns);
  begin_fair(0);
  node(UVF_STAGE_SOURCE)->o.fn = emits_for_ever;
  node(UVF_STAGE_LOOP)->o.fn = takes_its_time;
  k.n[1].o.capacity = 4;
  k.n[1].o.drop = NULL;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_true(turns.most > 0);
  assert_true(turns.most <= 4);
  end_fair();
}

/* --- tokens that others want, too --- */

#define TOKENS 150
#define OTHERS 4

static struct {
  fixture_t *f;
  uvf_limiter_t limiter;
  uvf_limiter_wait_t waits[OTHERS];
  int pending;
  atomic_int of_others, of_stage;
} tokens;

static void on_token(uvf_limiter_wait_t *wait, int status) {
  tokens.pending--;
  if (status == 0 && atomic_fetch_add(&tokens.of_others, 1) + 1 + atomic_load(&tokens.of_stage) >= TOKENS) {
    atomic_store(&fair.over, 1);
  }
  if (status != 0 || atomic_load(&fair.over)) return;
  tokens.pending++;
  uvf_limiter_wait(tokens.f->root, wait, &tokens.limiter, 1, on_token);
}

static int counts_its_tokens(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  atomic_fetch_add(&tokens.of_stage, 1);
  return atomic_load(&fair.over) ? UV_EOF : 0;
}

static int burns_and_emits(uvf_flow_t *flow, void *item) {
  burn(20000);
  return emits_for_ever(flow, item);
}

static int no_wait_is_pending(void *arg) {
  (void)arg;
  return tokens.pending == 0;
}

/* It stands in the limiter's line with the others; a fifth is its share. */
static void a_limited_stage_has_its_share_of_tokens_while_the_only_thread_is_busy_with_others(void **state) {
  memset(&tokens, 0, sizeof tokens);
  tokens.f = *state;
  assert_int_equal(uvf_limiter_init(&tokens.limiter, 400, 1), 0);
  begin_fair(1);
  node(UVF_STAGE_SOURCE)->o.fn = burns_and_emits;
  node(UVF_STAGE_WORK)->o.fn = swallows;
  node(UVF_STAGE_SOURCE)->o.fn = counts_its_tokens;
  k.n[2].o.limiter = &tokens.limiter;
  add_all();
  assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[1].stage), 0);
  for (int i = 0; i < OTHERS; i++) {
    tokens.pending++;
    assert_int_equal(uvf_limiter_wait(tokens.f->root, &tokens.waits[i], &tokens.limiter, 1, on_token), 0);
  }
  assert_int_equal(run_to_end(tokens.f, tokens.f->root, k.p), 0);
  assert_true(atomic_load(&tokens.of_stage) >= TOKENS / 10);
  run_until_seen(&tokens.f->loop, no_wait_is_pending, NULL);
  end_fair();
  assert_int_equal(uvf_limiter_destroy(&tokens.limiter), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(what_a_source_has_emitted_is_handled_though_it_may_be_called_again_and_again),
      unit(two_endless_sources_share_the_queue_of_a_slow_stage),
      unit(two_branches_share_the_queue_of_the_slow_stage_where_they_meet),
      unit(a_single_item_for_a_cheap_side_sink_is_handled_while_the_main_one_is_busy),
      unit(it_does_not_wait_for_many_calls_that_take_long),
      unit(a_limited_stage_has_its_share_of_tokens_while_the_only_thread_is_busy_with_others),
      unit(a_source_that_waits_for_a_token_holds_up_no_other),
      unit(in_a_turn_of_the_loop_a_pipeline_has_its_share_once),
  };
  return test_run(tests);
}
