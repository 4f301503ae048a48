/* SPDX-License-Identifier: MIT
 *
 * Trees of extreme shape on a thread with a small stack: a chain 1,000,000 deep, 1,000,000 children of one context, and
 * 10,000,000 children one after the other. Nothing may recurse, and memory must stay flat.
 *
 * The work is done off the test's thread, where cmocka cannot assert: a check that fails notes its line, and the thread
 * returns.
 */
#include "unit/probe.h"

#define STACK_BYTES (128 * 1024)

typedef struct shape_s {
  uv_loop_t loop;
  uvf_ctx_t *root;
  size_t n;
  int closed;
  const char *failed; /* the check that failed, or NULL */
  int line;
} shape_t;

#define CHECK(cond)                                                                                                    \
  do {                                                                                                                 \
    if (!(cond)) {                                                                                                     \
      shape->failed = #cond;                                                                                           \
      shape->line = __LINE__;                                                                                          \
      return;                                                                                                          \
    }                                                                                                                  \
  } while (0)

static void on_shape_closed(uvf_ctx_t *root) { ((shape_t *)uvf_ctx_loop(root)->data)->closed++; }

static void on_count(uvf_watch_t *watch, int status) { *(size_t *)watch->data += status == UV_ECANCELED; }

/* --- the shapes --- */

static int key_top, key_middle;

/* Makes a chain of n below the root, of which only the last is held. */
static uvf_ctx_t *chain_of(shape_t *shape, uvf_ctx_t **top) {
  uvf_ctx_t *ctx = NULL, *next;
  *top = NULL;
  if (uvf_ctx_with_value(shape->root, &key_top, shape, NULL, &ctx) != 0) return NULL;
  *top = uvf_ctx_retain(ctx);
  for (size_t i = 1; i < shape->n; i++) {
    int err = i == shape->n / 2 ? uvf_ctx_with_value(ctx, &key_middle, &key_middle, NULL, &next)
              : i % 1000 == 0   ? uvf_ctx_with_timeout(ctx, HOUR_MS - i / 1000, &next)
                                : uvf_ctx_with_cancel(ctx, &next);
    if (err != 0) return NULL;
    uvf_ctx_release(ctx);
    ctx = next;
  }
  return ctx;
}

static void deep_chain(shape_t *shape) {
  uvf_ctx_t *top, *leaf = chain_of(shape, &top);
  uvf_watch_t watch;
  uvf_stats_t stats;
  char text[64];
  size_t called = 0;
  FILE *file;
  CHECK(leaf != NULL);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.contexts == shape->n + 1);
  CHECK(uvf_ctx_value(leaf, &key_top) == shape); /* asked, described and drawn from one end to the other */
  CHECK(uvf_ctx_value(leaf, &key_middle) == &key_middle);
  CHECK(uvf_ctx_describe(leaf, text, sizeof text) > shape->n);
  file = tmpfile();
  CHECK(file != NULL);
  CHECK(uvf_ctx_dump(shape->root, file) == 0);
  fclose(file);
  watch.data = &called;
  CHECK(uvf_ctx_on_done(leaf, &watch, on_count) == 0);
  uvf_ctx_cancel_cause(top, -7, shape);
  CHECK(uvf_ctx_err(leaf) == UV_ECANCELED);
  CHECK(uvf_ctx_cause(leaf, NULL) == -7);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.live == 1 && stats.deadlines == 0);
  uv_run(&shape->loop, UV_RUN_DEFAULT);
  CHECK(called == 1);
  uvf_ctx_release(top);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.contexts == shape->n + 1); /* the leaf keeps them all */
  uvf_ctx_release(leaf);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.contexts == 1);
}

/* The same without a cancel: the release of the leaf takes the live chain with it. Then once more, ended by the close
 * and freed after it. */
static void forgotten_chain(shape_t *shape) {
  uvf_ctx_t *top, *leaf = chain_of(shape, &top);
  uvf_stats_t stats;
  CHECK(leaf != NULL);
  uvf_ctx_release(top);
  uvf_ctx_release(leaf);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.contexts == 1 && stats.live == 1 && stats.deadlines == 0);
  leaf = chain_of(shape, &top);
  CHECK(leaf != NULL);
  uvf_ctx_close(shape->root, on_shape_closed);
  shape->root = NULL;
  CHECK(uvf_ctx_err(leaf) == UV_ECANCELED);
  uv_run(&shape->loop, UV_RUN_DEFAULT);
  uvf_ctx_release(top);
  uvf_ctx_release(leaf); /* after the close: a million contexts in one release */
}

static void wide_family(shape_t *shape) {
  uvf_ctx_t **children = calloc(shape->n, sizeof *children), *parent = NULL;
  uvf_watch_t *watches = calloc(shape->n / 10, sizeof *watches);
  uvf_stats_t stats;
  uvf_ctx_counts_t counts;
  size_t called = 0, over = 0;
  CHECK(children != NULL && watches != NULL);
  CHECK(uvf_ctx_with_cancel(shape->root, &parent) == 0);
  for (size_t i = 0; i < shape->n; i++) {
    CHECK((i % 2 ? uvf_ctx_with_cancel(parent, &children[i])
                 : uvf_ctx_with_timeout(parent, HOUR_MS + i % 5000, &children[i])) == 0);
  }
  for (size_t i = 0; i < shape->n / 10; i++) {
    watches[i].data = &called;
    CHECK(uvf_ctx_on_done(children[i * 7 % shape->n], &watches[i], on_count) == 0);
  }
  uvf_ctx_counts(parent, &counts);
  CHECK(counts.children == shape->n);
  uvf_ctx_stats(parent, &stats);
  CHECK(stats.deadlines == (shape->n + 1) / 2 && stats.live == shape->n + 2);
  for (size_t i = 0; i < shape->n; i += 3) uvf_ctx_cancel(children[i]); /* each leaves without a search */
  uvf_ctx_cancel(parent);
  for (size_t i = 0; i < shape->n; i++) over += uvf_ctx_err(children[i]) == UV_ECANCELED;
  CHECK(over == shape->n);
  uvf_ctx_stats(parent, &stats);
  CHECK(stats.deadlines == 0 && stats.live == 1 && stats.contexts == shape->n + 2);
  for (size_t i = 0; i < shape->n; i++) uvf_ctx_release(children[i]);
  uv_run(&shape->loop, UV_RUN_DEFAULT);
  CHECK(called == shape->n / 10);
  uvf_ctx_release(parent);
  uvf_ctx_stats(shape->root, &stats);
  CHECK(stats.contexts == 1);
  free(watches);
  free(children);
}

static void endless_row(shape_t *shape) {
  size_t blocks = 0, tenth = shape->n / 10;
  uvf_stats_t stats;
  for (size_t i = 0; i < shape->n; i++) {
    uvf_ctx_t *ctx = NULL, *below = NULL;
    CHECK((i % 3 ? uvf_ctx_with_timeout(shape->root, HOUR_MS, &ctx) : uvf_ctx_with_cancel(shape->root, &ctx)) == 0);
    if (i % 4 == 0) {
      CHECK(uvf_ctx_with_cancel(ctx, &below) == 0);
      uvf_ctx_release(ctx);
      ctx = below;
    }
    if (i % 2) uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (i % tenth != tenth / 2) continue;
    uv_run(&shape->loop, UV_RUN_NOWAIT);
    uvf_ctx_stats(shape->root, &stats);
    CHECK(stats.contexts == 1 && stats.live == 1 && stats.deadlines == 0);
    if (blocks == 0) blocks = test_alloc_live();
    CHECK(test_alloc_live() == blocks); /* flat from the first tenth to the last */
  }
}

/* --- running them --- */

static void (*shape_fn)(shape_t *);

static void shape_main(void *arg) {
  shape_t *shape = arg;
  CHECK(uv_loop_init(&shape->loop) == 0);
  shape->loop.data = shape;
  CHECK(uvf_ctx_background(&shape->loop, &shape->root) == 0);
  shape_fn(shape);
  if (shape->failed != NULL) return;
  if (shape->root != NULL) uvf_ctx_close(shape->root, on_shape_closed);
  uv_run(&shape->loop, UV_RUN_DEFAULT);
  CHECK(shape->closed == 1);
  CHECK(uv_loop_close(&shape->loop) == 0);
}

static void run_shape(void (*fn)(shape_t *), size_t n) {
  uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK_BYTES};
  static shape_t shape; /* static: not on anybody's stack */
  size_t blocks = test_alloc_live();
  uv_thread_t thread;
  memset(&shape, 0, sizeof shape);
  shape.n = n;
  shape_fn = fn;
  assert_int_equal(uv_thread_create_ex(&thread, &options, shape_main, &shape), 0);
  assert_int_equal(uv_thread_join(&thread), 0);
  if (shape.failed != NULL) fail_msg("line %d: %s", shape.line, shape.failed);
  assert_int_equal(test_alloc_live(), blocks);
}

static void a_chain_a_million_deep_is_made_cancelled_and_freed_on_a_small_stack(void **state) {
  (void)state;
  run_shape(deep_chain, test_scaled(1000000, 10));
}

static void a_chain_a_million_deep_is_freed_live_or_after_the_close_on_a_small_stack(void **state) {
  (void)state;
  run_shape(forgotten_chain, test_scaled(1000000, 10));
}

static void a_million_children_of_one_context_are_made_cancelled_and_freed(void **state) {
  (void)state;
  run_shape(wide_family, test_scaled(1000000, 10));
}

static void ten_million_children_one_after_the_other_leave_memory_flat(void **state) {
  (void)state;
  run_shape(endless_row, test_scaled(10000000, 20));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_chain_a_million_deep_is_made_cancelled_and_freed_on_a_small_stack),
      cmocka_unit_test(a_chain_a_million_deep_is_freed_live_or_after_the_close_on_a_small_stack),
      cmocka_unit_test(a_million_children_of_one_context_are_made_cancelled_and_freed),
      cmocka_unit_test(ten_million_children_one_after_the_other_leave_memory_flat),
  };
  return test_run(tests);
}
