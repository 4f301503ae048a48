/* SPDX-License-Identifier: MIT
 *
 * serve.h: the values a request carries: its id, its trace, and typed keys, declared in one file and defined in
 * another.
 */
#include "support/identity.h"
#include "unit/probe.h"

UVF_VALUE(tenant, const char);
UVF_VALUE_DEFINE(tenant, const char);

static uvf_ctx_t *const sentinel = (uvf_ctx_t *)(uintptr_t)16;

/* --- ids --- */

static uvf_ctx_t *with_id(uvf_ctx_t *parent, const char *id) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_request_id(parent, id, strlen(id), &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static void an_id_is_copied_and_terminated_and_the_nearest_one_counts(void **state) {
  fixture_t *f = *state;
  char text[] = "req-17, and what is behind it";
  uvf_ctx_t *up = NULL, *middle, *down;
  assert_int_equal(uvf_ctx_with_request_id(f->root, text, 6, &up), 0);
  memset(text, 'x', sizeof text - 1);
  middle = child_of(up);
  down = with_id(middle, "other");
  assert_null(uvf_ctx_request_id(f->root));
  assert_null(uvf_ctx_request_id(NULL));
  assert_string_equal(uvf_ctx_request_id(up), "req-17");
  assert_ptr_equal(uvf_ctx_request_id(middle), uvf_ctx_request_id(up));
  assert_string_equal(uvf_ctx_request_id(down), "other");
  uvf_ctx_release(up);
  uvf_ctx_release(middle);
  assert_string_equal(uvf_ctx_request_id(down), "other");
  uvf_ctx_release(down);
}

static void an_id_may_be_any_bytes_but_not_none(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = sentinel;
  assert_int_equal(uvf_ctx_with_request_id(f->root, "", 0, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_request_id(f->root, NULL, 3, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_request_id(NULL, "abc", 3, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_request_id(f->root, "abc", 3, NULL), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_request_id(f->root, "abc", SIZE_MAX, &ctx), UV_EINVAL);
  assert_ptr_equal(ctx, sentinel);
  assert_int_equal(uvf_ctx_with_request_id(f->root, "a\0\xff", 3, &ctx), 0);
  assert_memory_equal(uvf_ctx_request_id(ctx), "a\0\xff", 4);
  uvf_ctx_release(ctx);
}

/* --- traces --- */

static void a_trace_is_copied_whole_and_the_nearest_one_counts(void **state) {
  static const char header[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  fixture_t *f = *state;
  uvf_trace_t trace, copy;
  uvf_ctx_t *up = NULL, *down = NULL, *both;
  memset(&trace, 0, sizeof trace);
  assert_int_equal(uvf_traceparent_parse(header, sizeof header - 1, &trace), 0);
  memcpy(&copy, &trace, sizeof copy);
  assert_int_equal(uvf_ctx_with_trace(f->root, &trace, &up), 0);
  memset(&trace, 0xff, sizeof trace);
  assert_null(uvf_ctx_trace(f->root));
  assert_null(uvf_ctx_trace(NULL));
  assert_memory_equal(uvf_ctx_trace(up), &copy, sizeof copy);
  assert_int_equal(uvf_ctx_with_trace(up, &trace, &down), 0);
  assert_memory_equal(uvf_ctx_trace(down), &trace, sizeof trace);
  assert_memory_equal(uvf_ctx_trace(up), &copy, sizeof copy);
  both = with_id(down, "id"); /* they do not hide each other */
  assert_ptr_equal(uvf_ctx_trace(both), uvf_ctx_trace(down));
  assert_null(uvf_ctx_request_id(down));
  uvf_ctx_release(up);
  uvf_ctx_release(down);
  assert_memory_equal(uvf_ctx_trace(both), &trace, sizeof trace);
  uvf_ctx_release(both);
}

static void bad_arguments_make_no_trace(void **state) {
  fixture_t *f = *state;
  uvf_trace_t trace;
  uvf_ctx_t *ctx = sentinel;
  memset(&trace, 0, sizeof trace);
  assert_int_equal(uvf_ctx_with_trace(NULL, &trace, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_trace(f->root, NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_trace(f->root, &trace, NULL), UV_EINVAL);
  assert_ptr_equal(ctx, sentinel);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* --- both --- */

static void every_kind_of_child_inherits_id_and_trace(void **state) {
  fixture_t *f = *state;
  uvf_trace_t trace;
  uvf_ctx_t *id = with_id(f->root, "id"), *up = NULL, *ctx = NULL;
  memset(&trace, 7, sizeof trace);
  assert_int_equal(uvf_ctx_with_trace(id, &trace, &up), 0);
  for (size_t i = 0; i <= ARRAY_SIZE(kinds); i++) {
    int err = i < ARRAY_SIZE(kinds) ? kinds[i].derive(up, &ctx) : uvf_ctx_without_cancel(up, &ctx);
    assert_int_equal(err, 0);
    assert_string_equal(uvf_ctx_request_id(ctx), "id");
    assert_ptr_equal(uvf_ctx_trace(ctx), uvf_ctx_trace(up));
    uvf_ctx_release(ctx);
  }
  uvf_ctx_release(id);
  uvf_ctx_release(up);
}

static int make_id(uvf_ctx_t *parent, uvf_ctx_t **ctx) { return uvf_ctx_with_request_id(parent, "some id", 7, ctx); }

static int make_trace(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  uvf_trace_t trace;
  memset(&trace, 1, sizeof trace);
  return uvf_ctx_with_trace(parent, &trace, ctx);
}

static void without_memory_nothing_happens_and_with_it_the_copy_goes_with_the_context(void **state) {
  static int (*const makes[])(uvf_ctx_t *, uvf_ctx_t **) = {make_id, make_trace};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(makes); i++) {
    size_t blocks = test_alloc_live();
    int failures = 0, failed = 1;
    while (failed) {
      uvf_ctx_t *ctx = sentinel;
      int err;
      test_alloc_fail_at((size_t)failures + 1);
      err = makes[i](f->root, &ctx);
      failed = test_alloc_failed();
      test_alloc_fail_at(0);
      assert_int_equal(err, failed ? UV_ENOMEM : 0);
      failures += failed;
      if (!failed) {
        assert_int_equal(test_alloc_live(), blocks + 2);
        uvf_ctx_release(ctx);
        turn(&f->loop);
      } else {
        assert_ptr_equal(ctx, sentinel);
      }
      assert_int_equal(test_alloc_live(), blocks);
    }
    assert_int_equal(failures, 2); /* the copy, and the context */
  }
}

typedef struct far_s {
  uvf_ctx_t *ctx;
  int right;
} far_t;

static void read_far(void *arg) {
  far_t *far = arg;
  const char *id = uvf_ctx_request_id(far->ctx);
  const uvf_trace_t *trace = uvf_ctx_trace(far->ctx);
  struct identity *who = identity_of(far->ctx);
  far->right = id != NULL && strcmp(id, "id") == 0 && trace != NULL && who != NULL && who->user == 5;
}

static void other_threads_read_them_also_after_the_end(void **state) {
  fixture_t *f = *state;
  struct identity five = {5, 0};
  uvf_ctx_t *id = with_id(f->root, "id"), *trace = NULL;
  far_t far = {NULL, 0};
  assert_int_equal(make_trace(id, &trace), 0);
  assert_int_equal(identity_with(trace, &five, NULL, &far.ctx), 0);
  uvf_ctx_release(id);
  uvf_ctx_release(trace);
  for (int over = 0; over < 3; over++) {
    far.right = 0;
    on_thread(read_far, &far);
    assert_int_equal(far.right, 1);
    if (over == 0) uvf_ctx_cancel(far.ctx);
    if (over == 1) fixture_close_root(f);
  }
  uvf_ctx_release(far.ctx);
}

/* --- typed keys --- */

static void free_identity(void *value) { ((struct identity *)value)->frees++; }

static void typed_keys_are_each_their_own(void **state) {
  fixture_t *f = *state;
  struct identity one = {1, 0}, two = {2, 0}, three = {3, 0};
  uvf_ctx_t *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL;
  assert_int_equal(identity_with(f->root, &one, free_identity, &a), 0);
  assert_int_equal(delegate_with(a, &two, free_identity, &b), 0);
  assert_int_equal(tenant_with(b, "acme", NULL, &c), 0);
  assert_int_equal(identity_with(c, &three, free_identity, &d), 0);
  assert_int_equal(identity_with(d, NULL, NULL, &e), 0);
  assert_null(identity_of(f->root));
  assert_null(identity_of(NULL));
  assert_null(delegate_of(a));
  assert_ptr_equal(identity_of(c), &one);
  assert_ptr_equal(delegate_of(d), &two);
  assert_string_equal(tenant_of(d), "acme");
  assert_ptr_equal(identity_of(d), &three);
  assert_null(identity_of(e)); /* NULL hides */
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  uvf_ctx_release(c);
  uvf_ctx_release(d);
  turn(&f->loop);
  assert_int_equal(one.frees + two.frees + three.frees, 0);
  uvf_ctx_release(e);
  turn(&f->loop);
  assert_int_equal(one.frees, 1);
  assert_int_equal(two.frees, 1);
  assert_int_equal(three.frees, 1);
}

static void a_typed_key_refuses_what_uvf_ctx_with_value_refuses(void **state) {
  fixture_t *f = *state;
  struct identity one = {1, 0};
  uvf_ctx_t *ctx = sentinel;
  assert_int_equal(identity_with(NULL, &one, free_identity, &ctx), UV_EINVAL);
  assert_int_equal(identity_with(f->root, &one, free_identity, NULL), UV_EINVAL);
  test_alloc_fail_at(1);
  assert_int_equal(identity_with(f->root, &one, free_identity, &ctx), UV_ENOMEM);
  test_alloc_fail_at(0);
  assert_ptr_equal(ctx, sentinel);
  turn(&f->loop);
  assert_int_equal(one.frees, 0); /* still the caller's */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(an_id_is_copied_and_terminated_and_the_nearest_one_counts),
      unit(an_id_may_be_any_bytes_but_not_none),
      unit(a_trace_is_copied_whole_and_the_nearest_one_counts),
      unit(bad_arguments_make_no_trace),
      unit(every_kind_of_child_inherits_id_and_trace),
      unit(without_memory_nothing_happens_and_with_it_the_copy_goes_with_the_context),
      unit(other_threads_read_them_also_after_the_end),
      unit(typed_keys_are_each_their_own),
      unit(a_typed_key_refuses_what_uvf_ctx_with_value_refuses),
  };
  uvf_use_free_lists(0); /* every context a block of its own */
  return test_run(tests);
}
