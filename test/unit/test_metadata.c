/* SPDX-License-Identifier: MIT
 *
 * serve.h: metadata: order and replacement, the grammar of keys and values, and that a set which a context carries
 * never changes, whoever adds to it, releases it or reads it.
 */
#include "unit/probe.h"

static uvf_metadata_t pair(const char *key, const char *value) {
  return (uvf_metadata_t){key, value, value != NULL ? strlen(value) : 0};
}

static uvf_ctx_t *with(uvf_ctx_t *parent, const uvf_metadata_t *pairs, size_t n, int how) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_metadata(parent, pairs, n, how, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static uvf_ctx_t *with_one(uvf_ctx_t *parent, const char *key, const char *value, int how) {
  uvf_metadata_t one = pair(key, value);
  return with(parent, &one, 1, how);
}

/* The pairs of ctx as "a=1 b=2", in order. */
static const char *text_of(const uvf_ctx_t *ctx) {
  static char text[1024];
  const uvf_metadata_t *pairs = NULL;
  size_t n = uvf_ctx_metadata(ctx, &pairs), used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < n; i++) {
    if (strlen(pairs[i].value) != pairs[i].value_len) return "a length is wrong";
    used +=
        (size_t)snprintf(text + used, sizeof text - used, "%s%s=%s", i > 0 ? " " : "", pairs[i].key, pairs[i].value);
    if (used >= sizeof text) return "too long";
  }
  return text;
}

/* --- order --- */

static void added_pairs_stand_behind_their_ancestors_and_many_may_have_one_key(void **state) {
  fixture_t *f = *state;
  const uvf_metadata_t first[] = {pair("a", "1"), pair("b", "2"), pair("a", "3")};
  const uvf_metadata_t second[] = {pair("c", "4"), pair("a", "5")};
  uvf_ctx_t *up = with(f->root, first, 3, UVF_METADATA_ADD), *down = with(up, second, 2, UVF_METADATA_ADD);
  assert_string_equal(text_of(f->root), "");
  assert_string_equal(text_of(up), "a=1 b=2 a=3");
  assert_string_equal(text_of(down), "a=1 b=2 a=3 c=4 a=5");
  assert_string_equal(uvf_metadata_get(up, "a"), "3"); /* the one added last */
  assert_string_equal(uvf_metadata_get(down, "a"), "5");
  assert_string_equal(uvf_metadata_get(down, "b"), "2");
  assert_null(uvf_metadata_get(down, "d"));
  assert_null(uvf_metadata_get(down, ""));
  assert_null(uvf_metadata_get(down, "A")); /* asked for in lower case */
  assert_null(uvf_metadata_get(f->root, "a"));
  uvf_ctx_release(up);
  uvf_ctx_release(down);
}

static void set_pairs_hide_all_older_ones_of_their_keys_and_no_others(void **state) {
  fixture_t *f = *state;
  const uvf_metadata_t first[] = {pair("a", "1"), pair("b", "2"), pair("a", "3"), pair("ab", "4")};
  const uvf_metadata_t second[] = {pair("A", "5"), pair("c", "6"), pair("A", "7")};
  uvf_ctx_t *up = with(f->root, first, 4, UVF_METADATA_SET), *down = with(up, second, 3, UVF_METADATA_SET);
  uvf_ctx_t *last = with_one(down, "b", "", UVF_METADATA_SET);
  assert_string_equal(text_of(up), "a=1 b=2 a=3 ab=4");
  assert_string_equal(text_of(down), "b=2 ab=4 a=5 c=6 a=7"); /* what is set together stays together */
  assert_string_equal(text_of(last), "ab=4 a=5 c=6 a=7 b=");
  assert_string_equal(uvf_metadata_get(last, "b"), "");
  uvf_ctx_release(up);
  uvf_ctx_release(down);
  uvf_ctx_release(last);
}

static void upper_case_is_lowered_in_the_copy_and_the_callers_text_is_left_alone(void **state) {
  fixture_t *f = *state;
  char key[] = "X-Trace.ID_09-BIN", value[] = "Mixed CASE \x01\xff";
  uvf_metadata_t one = {key, value, sizeof value - 1};
  uvf_ctx_t *ctx = with(f->root, &one, 1, UVF_METADATA_ADD);
  const uvf_metadata_t *pairs = NULL;
  assert_string_equal(key, "X-Trace.ID_09-BIN");
  memset(key, 'z', sizeof key - 1);
  memset(value, 'z', sizeof value - 1);
  assert_int_equal(uvf_ctx_metadata(ctx, &pairs), 1);
  assert_string_equal(pairs[0].key, "x-trace.id_09-bin");
  assert_int_equal(pairs[0].value_len, 13);
  assert_memory_equal(pairs[0].value, "Mixed CASE \x01\xff", 14); /* terminated */
  assert_ptr_equal(uvf_metadata_get(ctx, "x-trace.id_09-bin"), pairs[0].value);
  uvf_ctx_release(ctx);
}

static void no_pairs_make_a_plain_child(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *up = with_one(f->root, "a", "1", UVF_METADATA_ADD), *plain = with(up, NULL, 0, UVF_METADATA_SET);
  const uvf_metadata_t *of_up = NULL, *of_plain = NULL;
  size_t blocks = test_alloc_live();
  uvf_ctx_metadata(up, &of_up);
  uvf_ctx_metadata(plain, &of_plain);
  assert_ptr_equal(of_up, of_plain);
  assert_int_equal(test_alloc_live(), blocks);
  uvf_ctx_cancel(plain);
  assert_int_equal(uvf_ctx_err(up), 0);
  assert_string_equal(text_of(plain), "a=1");
  uvf_ctx_release(up);
  uvf_ctx_release(plain);
}

/* --- grammar --- */

static int is_key_byte(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static int try(uvf_ctx_t *parent, const uvf_metadata_t *pairs, size_t n, int how) {
  uvf_ctx_t *const sentinel = (uvf_ctx_t *)(uintptr_t)16;
  uvf_ctx_t *ctx = sentinel;
  size_t blocks = test_alloc_live();
  int err = uvf_ctx_with_metadata(parent, pairs, n, how, &ctx);
  if (err == 0) {
    uvf_ctx_release(ctx);
  } else {
    assert_ptr_equal(ctx, sentinel);
    assert_int_equal(test_alloc_live(), blocks);
  }
  return err;
}

static void every_byte_is_tried_at_each_place_of_a_key_and_of_a_value(void **state) {
  fixture_t *f = *state;
  for (int c = 1; c < 256; c++) {
    for (size_t at = 0; at < 3; at++) {
      char text[] = "abc";
      uvf_metadata_t key = {text, "v", 1}, value = {"k", text, 3}, binary = {"k-bin", text, 3}, both[2];
      text[at] = (char)c;
      both[0] = pair("good", "good");
      both[1] = value;
      assert_int_equal(try(f->root, &key, 1, UVF_METADATA_ADD), is_key_byte(c) ? 0 : UV_EINVAL);
      assert_int_equal(try(f->root, &value, 1, UVF_METADATA_SET), c >= ' ' && c <= '~' ? 0 : UV_EINVAL);
      assert_int_equal(try(f->root, both, 2, UVF_METADATA_SET), c >= ' ' && c <= '~' ? 0 : UV_EINVAL);
      assert_int_equal(try(f->root, &binary, 1, UVF_METADATA_ADD), 0);
    }
  }
  turn(&f->loop);
}

static void only_a_key_that_ends_in_bin_may_have_any_bytes(void **state) {
  static const struct {
    const char *key;
    int binary;
  } rows[] = {{"a-bin", 1},  {"a-BIN", 1}, {"a-Bin", 1},   {"-bin", 1},  {"-bin-bin", 1}, {"bin", 0},
              {"a-bin.", 0}, {"abin", 0},  {"a-bin-x", 0}, {"a_bin", 0}, {"in", 0},       {"n", 0}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_metadata_t zero = {rows[i].key, "a\0b", 3}, text = pair(rows[i].key, "text"), none = pair(rows[i].key, NULL);
    assert_int_equal(try(f->root, &zero, 1, UVF_METADATA_ADD), rows[i].binary ? 0 : UV_EINVAL);
    assert_int_equal(try(f->root, &text, 1, UVF_METADATA_ADD), 0);
    assert_int_equal(try(f->root, &none, 1, UVF_METADATA_ADD), 0);
  }
  turn(&f->loop);
}

static void bytes_of_every_kind_come_through_a_binary_value(void **state) {
  fixture_t *f = *state;
  char bytes[256];
  uvf_metadata_t one = {"all-bin", bytes, sizeof bytes};
  const uvf_metadata_t *pairs = NULL;
  uvf_ctx_t *ctx;
  for (int i = 0; i < 256; i++) bytes[i] = (char)i;
  ctx = with(f->root, &one, 1, UVF_METADATA_ADD);
  uvf_ctx_metadata(ctx, &pairs);
  assert_int_equal(pairs[0].value_len, 256);
  assert_memory_equal(pairs[0].value, bytes, 256);
  assert_int_equal(pairs[0].value[256], 0);
  uvf_ctx_release(ctx);
}

static void bad_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  uvf_metadata_t good = pair("a", "1"), empty_key = pair("", "1"), no_key = pair(NULL, "1"), no_value = {"a", NULL, 1};
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_metadata(NULL, &good, 1, UVF_METADATA_ADD, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_metadata(f->root, NULL, 1, UVF_METADATA_ADD, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_metadata(f->root, &good, 1, UVF_METADATA_ADD, NULL), UV_EINVAL);
  assert_int_equal(try(f->root, &good, 1, 2), UV_EINVAL);
  assert_int_equal(try(f->root, &good, 1, -1), UV_EINVAL);
  assert_int_equal(try(f->root, &good, 0, 2), UV_EINVAL);
  assert_int_equal(try(f->root, &empty_key, 1, UVF_METADATA_ADD), UV_EINVAL);
  assert_int_equal(try(f->root, &no_key, 1, UVF_METADATA_ADD), UV_EINVAL);
  assert_int_equal(try(f->root, &no_value, 1, UVF_METADATA_ADD), UV_EINVAL);
  assert_null(ctx);
  assert_int_equal(uvf_ctx_metadata(NULL, NULL), 0);
  assert_null(uvf_metadata_get(NULL, "a"));
  assert_null(uvf_metadata_get(f->root, NULL));
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* Lengths whose sum is more than there can be: seen before a byte is read. */
static void sizes_that_overflow_are_refused_without_a_crash(void **state) {
  static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 7, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
  fixture_t *f = *state;
  uvf_metadata_t one = pair("a", "1"), parts[3];
  uvf_ctx_t *up = with_one(f->root, "a", "1", UVF_METADATA_ADD);
  for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
    uvf_metadata_t huge = {"a-bin", "x", lengths[i]};
    assert_int_equal(try(up, &huge, 1, UVF_METADATA_ADD), UV_EINVAL);
  }
  for (size_t i = 0; i < 3; i++) parts[i] = (uvf_metadata_t){"a-bin", "x", SIZE_MAX / 5};
  assert_int_equal(try(up, parts, 3, UVF_METADATA_SET), UV_EINVAL);
  assert_int_equal(try(up, &one, SIZE_MAX, UVF_METADATA_ADD), UV_EINVAL);
  assert_int_equal(try(up, &one, SIZE_MAX / sizeof one, UVF_METADATA_ADD), UV_EINVAL);
  parts[0].value_len = SIZE_MAX / 4; /* could be counted, but is not to be had */
  test_alloc_fail_at(1);
  assert_int_equal(try(up, parts, 1, UVF_METADATA_ADD), UV_ENOMEM);
  test_alloc_fail_at(0);
  uvf_ctx_release(up);
}

/* --- copy on write --- */

static void a_child_that_adds_leaves_its_parents_set_as_it_was(void **state) {
  fixture_t *f = *state;
  const uvf_metadata_t first[] = {pair("a", "1"), pair("b", "2")};
  uvf_ctx_t *up = with(f->root, first, 2, UVF_METADATA_ADD), *kids[8];
  const uvf_metadata_t *before = NULL, *after = NULL, *below = NULL;
  uvf_metadata_t copy[2];
  uvf_ctx_metadata(up, &before);
  memcpy(copy, before, sizeof copy);
  for (int i = 0; i < 8; i++) kids[i] = with_one(up, "a", i % 2 ? "9" : "8", i % 4 < 2);
  assert_int_equal(uvf_ctx_metadata(up, &after), 2);
  assert_ptr_equal(after, before);
  assert_memory_equal(after, copy, sizeof copy);
  assert_string_equal(text_of(up), "a=1 b=2");
  for (int i = 0; i < 8; i++) {
    assert_string_equal(text_of(kids[i]), i % 4 < 2 ? (i % 2 ? "b=2 a=9" : "b=2 a=8")
                                          : i % 2   ? "a=1 b=2 a=9"
                                                    : "a=1 b=2 a=8");
    uvf_ctx_metadata(kids[i], &below);
    assert_ptr_equal(below[i % 4 < 2 ? 0 : 1].value, before[1].value); /* pointed at, not copied */
    assert_ptr_equal(below[i % 4 < 2 ? 0 : 1].key, before[1].key);
    uvf_ctx_release(kids[i]);
  }
  uvf_ctx_release(up);
}

static void ancestors_may_be_released_and_over_and_their_pairs_are_still_there(void **state) {
  fixture_t *f = *state;
  size_t blocks;
  uvf_ctx_t *ctx = uvf_ctx_retain(f->root);
  turn(&f->loop);
  blocks = test_alloc_live();
  for (int i = 0; i < 50; i++) {
    char key[8], value[8];
    uvf_ctx_t *next, *middle;
    snprintf(key, sizeof key, "K%d", i);
    snprintf(value, sizeof value, "v%d", i);
    next = with_one(ctx, key, value, i % 2);
    middle = child_of(next);
    if (i == 25) uvf_ctx_cancel(middle);
    uvf_ctx_release(ctx);
    uvf_ctx_release(next);
    ctx = middle;
    turn(&f->loop);
  }
  assert_int_equal(uvf_ctx_err(ctx), UV_ECANCELED);
  assert_int_equal(uvf_ctx_metadata(ctx, NULL), 50);
  for (int i = 0; i < 50; i++) {
    char key[8], value[8];
    snprintf(key, sizeof key, "k%d", i);
    snprintf(value, sizeof value, "v%d", i);
    assert_string_equal(uvf_metadata_get(ctx, key), value);
  }
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_true(test_alloc_live() <= blocks + 2); /* slabs of contexts may be kept */
}

static void every_kind_of_child_inherits_the_set(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *up = with_one(f->root, "a", "1", UVF_METADATA_ADD), *other = with_one(f->root, "a", "2", UVF_METADATA_ADD);
  uvf_ctx_t *parents[2] = {up, other}, *ctx = NULL;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    assert_int_equal(kinds[i].derive(up, &ctx), 0);
    assert_string_equal(text_of(ctx), "a=1");
    uvf_ctx_release(ctx);
  }
  assert_int_equal(uvf_ctx_without_cancel(up, &ctx), 0);
  assert_string_equal(text_of(ctx), "a=1");
  uvf_ctx_release(ctx);
  assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), 0);
  assert_string_equal(text_of(ctx), "a=1"); /* the first parent's */
  uvf_ctx_release(ctx);
  assert_int_equal(uvf_ctx_with_remote(other, up, &ctx), 0);
  assert_string_equal(text_of(ctx), "a=2"); /* parent's, not local's */
  uvf_ctx_release(ctx);
  uvf_ctx_release(up);
  uvf_ctx_release(other);
}

/* --- threads --- */

typedef struct reader_s {
  uvf_ctx_t *ctx;
  gate_t start;
  int rounds, wrong;
} reader_t;

static void read_on(void *arg) {
  reader_t *reader = arg;
  gate_pass(&reader->start);
  for (int i = 0; i < reader->rounds; i++) {
    const uvf_metadata_t *pairs = NULL;
    const char *b = uvf_metadata_get(reader->ctx, "b");
    if (uvf_ctx_metadata(reader->ctx, &pairs) != 2 || strcmp(pairs[0].value, "1") != 0) reader->wrong++;
    if (b == NULL || strcmp(b, "2") != 0) reader->wrong++;
  }
  uvf_ctx_release(reader->ctx);
}

static void other_threads_read_a_set_while_children_add_to_it_and_it_ends(void **state) {
  fixture_t *f = *state;
  const uvf_metadata_t first[] = {pair("a", "1"), pair("b", "2")};
  uvf_ctx_t *up = with(f->root, first, 2, UVF_METADATA_ADD);
  uv_thread_t threads[2];
  reader_t readers[2];
  for (int i = 0; i < 2; i++) {
    readers[i] = (reader_t){.ctx = uvf_ctx_retain(up), .rounds = (int)test_scaled(20000, 10)};
    gate_init(&readers[i].start);
    assert_int_equal(uv_thread_create(&threads[i], read_on, &readers[i]), 0);
  }
  for (int i = 0; i < 2; i++) gate_open(&readers[i].start, 1);
  for (int i = 0; i < 500; i++) {
    uvf_ctx_t *kid = with_one(up, "b", "3", i % 2);
    assert_string_equal(uvf_metadata_get(kid, "b"), "3");
    if (i == 250) uvf_ctx_cancel(up);
    uvf_ctx_release(kid);
    if (i % 50 == 0) turn(&f->loop);
  }
  uvf_ctx_release(up);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(readers[i].wrong, 0);
    gate_destroy(&readers[i].start);
  }
  turn(&f->loop);
}

static void a_set_is_readable_after_its_root_and_loop_are_gone(void **state) {
  fixture_t *f = *state;
  size_t blocks = test_alloc_live();
  uvf_ctx_t *ctx = with_one(f->root, "a", "1", UVF_METADATA_ADD);
  fixture_close_root(f);
  assert_string_equal(text_of(ctx), "a=1");
  assert_string_equal(uvf_metadata_get(ctx, "a"), "1");
  uvf_ctx_release(ctx);
  assert_true(test_alloc_live() <= blocks);
}

typedef struct far_s {
  lane_t lane;
  uvf_ctx_t *parent, *ctx;
  char text[32];
} far_t;

static void read_far(void *arg) {
  far_t *far = arg;
  uvf_metadata_t one = pair("b", "2");
  if (uvf_ctx_with_remote(far->parent, far->lane.root, &far->ctx) != 0) abort();
  uvf_ctx_release(far->parent);
  if (uvf_ctx_with_metadata(far->ctx, &one, 1, UVF_METADATA_ADD, &far->parent) != 0) abort();
  uvf_ctx_release(far->ctx);
  snprintf(far->text, sizeof far->text, "%s", text_of(far->parent));
  uvf_ctx_release(far->parent);
}

static void a_child_on_another_loop_adds_to_the_set_of_its_parent(void **state) {
  fixture_t *f = *state;
  far_t far;
  memset(&far, 0, sizeof far);
  lane_start(&far.lane);
  far.parent = with_one(f->root, "a", "1", UVF_METADATA_ADD);
  lane_call(&far.lane, read_far, &far);
  lane_stop(&far.lane);
  assert_string_equal(far.text, "a=1 b=2");
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* --- memory --- */

static void without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  const uvf_metadata_t first[] = {pair("a", "1"), pair("b", "2")};
  uvf_ctx_t *up = with(f->root, first, 2, UVF_METADATA_ADD);
  int failures = 0;
  for (size_t n = 1;; n++) {
    int err, failed;
    test_alloc_fail_at(n);
    err = try(up, first, 2, UVF_METADATA_SET);
    failed = test_alloc_failed();
    test_alloc_fail_at(0);
    assert_int_equal(err, failed ? UV_ENOMEM : 0);
    if (!failed) break;
    failures++;
  }
  assert_int_equal(failures, 2); /* the set, and the context */
  assert_string_equal(text_of(up), "a=1 b=2");
  uvf_ctx_release(up);
  turn(&f->loop);
}

static void a_set_is_one_block_which_is_freed_with_its_context(void **state) {
  fixture_t *f = *state;
  uvf_metadata_t pairs[100];
  size_t blocks = test_alloc_live(), count = test_alloc_count();
  uvf_ctx_t *ctx;
  for (int i = 0; i < 100; i++) pairs[i] = pair("key", "value");
  ctx = with(f->root, pairs, 100, UVF_METADATA_ADD);
  assert_int_equal(test_alloc_count() - count, 2);
  assert_int_equal(uvf_ctx_metadata(ctx, NULL), 100);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(test_alloc_live(), blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(added_pairs_stand_behind_their_ancestors_and_many_may_have_one_key),
      unit(set_pairs_hide_all_older_ones_of_their_keys_and_no_others),
      unit(upper_case_is_lowered_in_the_copy_and_the_callers_text_is_left_alone),
      unit(no_pairs_make_a_plain_child),
      unit(every_byte_is_tried_at_each_place_of_a_key_and_of_a_value),
      unit(only_a_key_that_ends_in_bin_may_have_any_bytes),
      unit(bytes_of_every_kind_come_through_a_binary_value),
      unit(bad_arguments_are_refused_and_nothing_happens),
      unit(sizes_that_overflow_are_refused_without_a_crash),
      unit(a_child_that_adds_leaves_its_parents_set_as_it_was),
      unit(ancestors_may_be_released_and_over_and_their_pairs_are_still_there),
      unit(every_kind_of_child_inherits_the_set),
      unit(other_threads_read_a_set_while_children_add_to_it_and_it_ends),
      unit(a_set_is_readable_after_its_root_and_loop_are_gone),
      unit(a_child_on_another_loop_adds_to_the_set_of_its_parent),
      unit(without_memory_nothing_happens),
      unit(a_set_is_one_block_which_is_freed_with_its_context),
  };
  uvf_use_free_lists(0); /* every context a block of its own */
  return test_run(tests);
}
