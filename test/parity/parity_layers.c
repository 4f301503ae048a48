/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-29, C-32 to C-36: random stacks of layers, and what a context costs in allocations.
 */
#include "parity.h"

#define LAYERS_MIN 30
#define LAYERS_MAX 60

typedef enum { LAYER_VALUE, LAYER_CANCEL, LAYER_TIMER, LAYER_WRAPPER, LAYER_KINDS } layer_t;

typedef struct layers_s {
  size_t n;
  uvf_ctx_t *ctx[LAYERS_MAX];
  layer_t kind[LAYERS_MAX];
  int keys[LAYERS_MAX]; /* the address is the key of a value layer, and what it holds */
} layers_t;

/* At least one of each kind; the timers all `timeout_ms`. */
static void layers_open(layers_t *l, uvf_ctx_t *root, uint64_t *seed, uint64_t timeout_ms) {
  uvf_ctx_t *parent = root;
  l->n = LAYERS_MIN + (size_t)(test_rand(seed) % (LAYERS_MAX - LAYERS_MIN + 1));
  for (size_t i = 0; i < l->n; i++) {
    l->kind[i] = i < LAYER_KINDS ? (layer_t)i : (layer_t)(test_rand(seed) % LAYER_KINDS);
    if (i == LAYER_KINDS - 1) { /* the obligatory ones in a random place too */
      size_t j = (size_t)(test_rand(seed) % LAYER_KINDS);
      layer_t swap = l->kind[j];
      l->kind[j] = l->kind[i];
      l->kind[i] = swap;
    }
  }
  for (size_t i = 0; i < l->n; i++) {
    switch (l->kind[i]) {
      case LAYER_VALUE: l->ctx[i] = value_of(parent, &l->keys[i], &l->keys[i]); break;
      case LAYER_TIMER: l->ctx[i] = timeout_of(parent, timeout_ms); break;
      case LAYER_WRAPPER: l->ctx[i] = wrapper_of(parent); break;
      default: l->ctx[i] = cancel_of(parent); break;
    }
    parent = l->ctx[i];
  }
}

static uvf_ctx_t *innermost(const layers_t *l) { return l->ctx[l->n - 1]; }

static void check_values(const layers_t *l) {
  for (size_t i = 0; i < l->n; i++) {
    void *want = l->kind[i] == LAYER_VALUE ? (void *)&l->keys[i] : NULL;
    assert_ptr_equal(uvf_ctx_value(innermost(l), &l->keys[i]), want);
    assert_int_equal(uvf_ctx_find(innermost(l), &l->keys[i], NULL), want != NULL);
  }
}

static size_t rounds(void) { return test_scaled(200, 10); }

static void c32_layers_are_not_done_before_the_cancel(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    layers_t l;
    layers_open(&l, f->root, &seed, HOUR_MS);
    for (size_t i = 0; i < l.n; i++) assert_live(l.ctx[i]);
    release_each(l.ctx, l.n);
  }
}

static void c33_cancelling_any_layer_ends_the_innermost(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    layers_t l;
    size_t at;
    layers_open(&l, f->root, &seed, HOUR_MS);
    at = (size_t)(test_rand(&seed) % l.n);
    uvf_ctx_cancel_cause(l.ctx[at], CAUSE_X, &l);
    for (size_t i = 0; i < at; i++) assert_live(l.ctx[i]);
    for (size_t i = at; i < l.n; i++) assert_over_with(l.ctx[i], UV_ECANCELED, CAUSE_X, &l);
    release_each(l.ctx, l.n);
  }
}

static void c34_a_short_timeout_ends_the_innermost(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(20, 4); round++) {
    layers_t l;
    size_t first = 0;
    layers_open(&l, f->root, &seed, 1);
    while (l.kind[first] != LAYER_TIMER) first++;
    run_until_over(&f->loop, innermost(&l), UV_ETIMEDOUT);
    for (size_t i = 0; i < first; i++) assert_live(l.ctx[i]);
    for (size_t i = first; i < l.n; i++) assert_over(l.ctx[i], UV_ETIMEDOUT, UV_ETIMEDOUT);
    assert_int_equal(stats(f->root).deadlines, 0);
    release_each(l.ctx, l.n);
  }
}

static void c35_values_stay_readable_through_every_end(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(20, 4); round++) {
    layers_t l;
    layers_open(&l, f->root, &seed, HOUR_MS);
    check_values(&l);
    uvf_ctx_cancel(l.ctx[0]);
    check_values(&l);
    settle(&f->loop);
    check_values(&l);
    release_each(l.ctx, l.n);
    layers_open(&l, f->root, &seed, 1);
    run_until_over(&f->loop, innermost(&l), UV_ETIMEDOUT);
    check_values(&l);
    for (size_t i = 0; i + 1 < l.n; i++) uvf_ctx_release(l.ctx[i]); /* the innermost alone keeps them all */
    check_values(&l);
    uvf_ctx_release(innermost(&l));
  }
}

static void c36_layers_print_from_the_background_on(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  static const char *const names[LAYER_KINDS] = {"with_value", "with_cancel", "with_timeout", "with_any"};
  for (size_t round = 0; round < rounds(); round++) {
    layers_t l;
    char line[LAYERS_MAX * 16];
    size_t length;
    layers_open(&l, f->root, &seed, HOUR_MS);
    length = uvf_ctx_describe(innermost(&l), line, sizeof line);
    assert_int_equal(length, strlen(line));
    assert_memory_equal(line, "background.", strlen("background."));
    for (size_t i = 0; i < l.n; i++) assert_string_equal(uvf_ctx_name(l.ctx[i]), names[l.kind[i]]);
    assert_string_equal(line + length - strlen(names[l.kind[l.n - 1]]), names[l.kind[l.n - 1]]);
    release_each(l.ctx, l.n);
  }
}

/* --- cost: our ceilings are one allocation a context, and none for its end ---------------------------------------- */

static const int cost_key;

static uvf_ctx_t *cost_value(uvf_ctx_t *root) { return value_of(root, &cost_key, NULL); }
static uvf_ctx_t *cost_any(uvf_ctx_t *root) { return any_of(root, root); }
static uvf_ctx_t *cost_timeout(uvf_ctx_t *root) { return timeout_of(root, HOUR_MS); }

static void c29_deriving_allocates_once_and_ending_never(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *(*const derive[])(uvf_ctx_t *) = {cancel_of, cost_value, cost_timeout, wrapper_of, cost_any, without_of};
  for (size_t round = 0; round < 300; round++) { /* past whatever a first one may set up */
    size_t kind = round % ARRAY_SIZE(derive);
    size_t before = test_alloc_count();
    uvf_ctx_t *ctx = derive[kind](f->root);
    assert_true(test_alloc_count() <= before + 1);
    before = test_alloc_count();
    assert_null(uvf_ctx_value(ctx, &cost_key));
    if (derive[kind] != without_of) uvf_ctx_cancel(ctx);
    uvf_ctx_cause(ctx, NULL);
    RELEASE(ctx);
    settle(&f->loop);
    assert_int_equal(test_alloc_count(), before);
  }
}

static void c29_a_fired_timeout_allocates_nothing_more(void **state) {
  fixture_t *f = *state;
  for (size_t round = 0; round < 5; round++) {
    size_t before = test_alloc_count();
    uvf_ctx_t *ctx = timeout_of(f->root, 1);
    counted_t c;
    assert_true(test_alloc_count() <= before + 1);
    before = test_alloc_count();
    watch_start(&c, ctx, NULL);
    run_until(&f->loop, &c.calls, 1);
    RELEASE(ctx);
    settle(&f->loop);
    assert_int_equal(test_alloc_count(), before);
  }
}

static void c29_cancelling_a_tree_allocates_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *top = cancel_of(f->root);
  uvf_ctx_t *node[85];
  counted_t c[85];
  int total = 0;
  size_t before;
  for (size_t i = 0; i < ARRAY_SIZE(node); i++) {
    node[i] = timeout_of(i == 0 ? top : node[(i - 1) / 4], HOUR_MS - i);
    watch_start(&c[i], node[i], &total);
  }
  before = test_alloc_count();
  uvf_ctx_cancel(top);
  run_until(&f->loop, &total, (int)ARRAY_SIZE(node));
  release_each(node, ARRAY_SIZE(node));
  RELEASE(top);
  settle(&f->loop);
  assert_int_equal(test_alloc_count(), before);
  assert_int_equal(total, ARRAY_SIZE(node));
}

static void c29_a_second_root_allocates_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *root = NULL;
  size_t before = test_alloc_count();
  assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
  assert_true(test_alloc_count() <= before + 1);
  before = test_alloc_count();
  uvf_ctx_close(root, NULL);
  settle(&f->loop);
  assert_int_equal(test_alloc_count(), before);
}

static void c29_a_remote_child_allocates_once(void **state) {
  fixture_t *f = *state;
  other_t *o = other_open();
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *remote;
  size_t before = test_alloc_count();
  size_t derived;
  size_t ended;
  remote = remote_of(o->root, parent);
  derived = test_alloc_count() - before;
  settle_both(f, o);
  before = test_alloc_count();
  uvf_ctx_cancel(parent);
  settle_both(f, o);
  assert_over(remote, UV_ECANCELED, UV_ECANCELED);
  RELEASE(remote, parent);
  settle_both(f, o);
  ended = test_alloc_count() - before;
  other_close(o);
  assert_int_equal(ended, 0);
  assert_true(derived <= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c29_deriving_allocates_once_and_ending_never),
      unit(c29_a_fired_timeout_allocates_nothing_more),
      unit(c29_cancelling_a_tree_allocates_nothing),
      unit(c29_a_second_root_allocates_once),
      unit(c29_a_remote_child_allocates_once),
      unit(c32_layers_are_not_done_before_the_cancel),
      unit(c33_cancelling_any_layer_ends_the_innermost),
      unit(c34_a_short_timeout_ends_the_innermost),
      unit(c35_values_stay_readable_through_every_end),
      unit(c36_layers_print_from_the_background_on),
  };
  return test_run(tests);
}
