/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-23 to C-28, C-65, C-91: request values, and what without_cancel keeps of its parent.
 */
#include "parity.h"

/* Keys are addresses: of equal contents, of equal and of unequal types. */
static const int key_a = 1;
static const int key_b = 1;
static const long key_c = 1;

static char one[] = "1";
static char two[] = "2";
static char three[] = "3";

#define assert_value(ctx, key, expected)                                                                               \
  do {                                                                                                                 \
    void *value_ = &value_;                                                                                            \
    assert_ptr_equal(uvf_ctx_value(ctx, key), expected);                                                               \
    assert_int_equal(uvf_ctx_find(ctx, key, &value_), 1);                                                              \
    assert_ptr_equal(value_, expected);                                                                                \
    assert_int_equal(uvf_ctx_find(ctx, key, NULL), 1);                                                                 \
  } while (0)

#define assert_absent(ctx, key)                                                                                        \
  do {                                                                                                                 \
    void *value_ = one;                                                                                                \
    assert_null(uvf_ctx_value(ctx, key));                                                                              \
    assert_int_equal(uvf_ctx_find(ctx, key, &value_), 0);                                                              \
    assert_ptr_equal(value_, one); /* untouched */                                                                     \
    assert_int_equal(uvf_ctx_find(ctx, key, NULL), 0);                                                                 \
  } while (0)

static void c23_background_has_no_values(void **state) {
  fixture_t *f = *state;
  assert_absent(f->root, &key_a);
  assert_absent(f->root, &key_b);
  assert_absent(f->root, &key_c);
  assert_absent(f->root, f->root);
}

static void c24_keys_match_by_identity(void **state) {
  fixture_t *f = *state;
  struct {
    int first;
    int second;
  } record = {1, 1};
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *r = value_of(a, &record, two);
  assert_value(r, &key_a, one);
  assert_absent(r, &key_b); /* same type, same number, another address */
  assert_absent(r, &key_c); /* same number, another type, another address */
  assert_value(r, &record, two);
  assert_value(r, &record.first, two); /* the same address is the same key, whatever its type */
  assert_absent(r, &record.second);
  RELEASE(a, r);
}

static void c25_inner_layers_add_and_outer_values_stay(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *b = value_of(a, &key_b, two);
  uvf_ctx_t *c = value_of(b, &key_c, three);
  assert_value(a, &key_a, one);
  assert_absent(a, &key_b);
  assert_absent(a, &key_c);
  assert_value(b, &key_a, one);
  assert_value(b, &key_b, two);
  assert_absent(b, &key_c);
  assert_value(c, &key_a, one);
  assert_value(c, &key_b, two);
  assert_value(c, &key_c, three);
  RELEASE(a, b, c);
}

static void c26_null_hides_the_outer_value(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *hidden = value_of(a, &key_a, NULL);
  uvf_ctx_t *below = cancel_of(hidden);
  uvf_ctx_t *again = value_of(below, &key_a, three);
  assert_value(a, &key_a, one);
  assert_value(hidden, &key_a, NULL); /* found, and NULL */
  assert_value(below, &key_a, NULL);
  assert_value(again, &key_a, three);
  RELEASE(a, hidden, below, again);
}

/* Keys and values have no text in C: the kind is printed, or the name that was given. */
static void c27_value_contexts_print_as_a_chain(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *b = value_of(a, &key_b, NULL);
  assert_described(a, "background.with_value");
  assert_described(b, "background.with_value.with_value");
  uvf_ctx_set_name(a, "user");
  assert_described(b, "background.user.with_value");
  uvf_ctx_set_name(a, NULL);
  assert_described(b, "background.with_value.with_value");
  RELEASE(a, b);
}

/* value, wrapper, value, wrapper: both directions of Go's test, the NULL shadow included */
static void c28_lookups_pass_through_wrappers(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *wrapper = wrapper_of(a);
  uvf_ctx_t *b = value_of(wrapper, &key_b, two);
  uvf_ctx_t *both = any_of(b, f->root);     /* values are the first parent's */
  uvf_ctx_t *reversed = any_of(f->root, b); /* so this one has none */
  uvf_ctx_t *hidden = value_of(both, &key_a, NULL);
  uvf_ctx_t *outer = wrapper_of(hidden);
  assert_value(wrapper, &key_a, one);
  assert_absent(wrapper, &key_b);
  assert_value(b, &key_a, one);
  assert_value(both, &key_a, one);
  assert_value(both, &key_b, two);
  assert_absent(reversed, &key_a);
  assert_absent(reversed, &key_b);
  assert_value(outer, &key_a, NULL);
  assert_value(outer, &key_b, two);
  assert_value(both, &key_a, one);
  RELEASE(a, wrapper, b, both, reversed, hidden, outer);
}

static void c28_lookups_pass_through_a_remote_wrapper(void **state) {
  fixture_t *f = *state;
  other_t *o = other_open();
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *b = value_of(a, &key_b, two);
  uvf_ctx_t *local;
  uvf_ctx_t *remote;
  uvf_ctx_t *hidden;
  local = value_of(o->root, &key_c, three);
  remote = remote_of(local, b);
  hidden = value_of(remote, &key_a, NULL);
  assert_value(remote, &key_a, one);
  assert_value(remote, &key_b, two);
  assert_absent(remote, &key_c); /* its values are the parent's, not those of the place where it lives */
  assert_value(hidden, &key_a, NULL);
  assert_value(hidden, &key_b, two);
  assert_value(b, &key_a, one);
  RELEASE(a, b); /* the child keeps what it can see */
  settle_both(f, o);
  assert_value(remote, &key_a, one);
  RELEASE(hidden, remote, local);
  settle_both(f, o);
  other_close(o);
}

static void c65_without_cancel_keeps_the_values_alone(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *parent = timeout_of(a, HOUR_MS);
  uvf_ctx_t *free_ctx = without_of(parent);
  uvf_ctx_t *below = value_of(free_ctx, &key_b, two);
  counted_t c;
  assert_true(uvf_ctx_deadline_ns(free_ctx) == UVF_NO_DEADLINE);
  watch_start(&c, free_ctx, NULL);
  uvf_ctx_cancel_cause(a, CAUSE_X, NULL);
  assert_over(parent, UV_ECANCELED, CAUSE_X);
  settle(&f->loop);
  assert_int_equal(c.calls, 0);
  assert_live(free_ctx);
  assert_live(below);
  assert_value(free_ctx, &key_a, one);
  assert_value(below, &key_a, one);
  assert_value(below, &key_b, two);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
  RELEASE(a, parent);
  assert_value(below, &key_a, one);
  RELEASE(free_ctx, below);
}

/* Closing the root is what ends it, as it ends everything. */
static void c65_only_the_roots_close_ends_without_cancel(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *free_ctx = without_of(parent);
  uvf_ctx_cancel(parent);
  assert_live(free_ctx);
  fixture_close_root(f);
  assert_over(free_ctx, UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(parent, UV_ECANCELED, UV_ECANCELED);
  RELEASE(free_ctx, parent);
}

static void c91_asking_twice_answers_the_same(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = value_of(f->root, &key_a, one);
  uvf_ctx_t *ctx = timeout_of(a, HOUR_MS);
  int data;
  for (int i = 0; i < 3; i++) {
    assert_value(ctx, &key_a, one);
    assert_absent(ctx, &key_b);
    assert_live(ctx);
    assert_ptr_equal(uvf_ctx_loop(ctx), &f->loop);
  }
  uvf_ctx_cancel_cause(ctx, CAUSE_X, &data);
  for (int i = 0; i < 3; i++) {
    assert_value(ctx, &key_a, one);
    assert_absent(ctx, &key_b);
    assert_over_with(ctx, UV_ECANCELED, CAUSE_X, &data);
    run_until_over(&f->loop, ctx, UV_ECANCELED); /* done is done for whoever asks, at any time */
  }
  RELEASE(ctx, a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c23_background_has_no_values),
      unit(c24_keys_match_by_identity),
      unit(c25_inner_layers_add_and_outer_values_stay),
      unit(c26_null_hides_the_outer_value),
      unit(c27_value_contexts_print_as_a_chain),
      unit(c28_lookups_pass_through_wrappers),
      unit(c28_lookups_pass_through_a_remote_wrapper),
      unit(c65_without_cancel_keeps_the_values_alone),
      unit(c65_only_the_roots_close_ends_without_cancel),
      unit(c91_asking_twice_answers_the_same),
  };
  return test_run(tests);
}
