/* SPDX-License-Identifier: MIT
 *
 * serve/status.c: the table of uvf_http_status, and that contexts end with the statuses it promises.
 */
#include "unit/codec_probe.h"

static void check(int err, int cause, int status) {
  int found = uvf_http_status(err, cause);
  if (found != status) print_message("err %d cause %d: %d, not %d\n", err, cause, found, status);
  assert_int_equal(found, status);
}

static void what_went_well_is_200_whatever_the_cause(void **state) {
  (void)state;
  check(0, 0, 200);
  check(0, UV_ECANCELED, 200);
  check(0, UV_ETIMEDOUT, 200);
  check(0, 503, 200);
}

static void a_cause_that_is_an_error_of_http_is_the_status(void **state) {
  (void)state;
  check(UV_ECANCELED, UVF_CAUSE_CLIENT_LEFT, 499);
  check(UV_ETIMEDOUT, UVF_CAUSE_CLIENT_SLOW, 408);
  check(UV_ECANCELED, UVF_CAUSE_CLIENT_SLOW, 408);
  check(UV_ECANCELED, UVF_CAUSE_OVERLOAD, 503);
  for (int status = 400; status <= 599; status++) {
    check(UV_ECANCELED, status, status);
    check(UV_ETIMEDOUT, status, status);
  }
}

static void other_causes_of_the_users_are_500_and_of_a_deadline_504(void **state) {
  static const int causes[] = {1, 7, 200, 399, 600, 1000, INT32_MAX};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
    check(UV_ECANCELED, causes[i], 500);
    check(UV_ETIMEDOUT, causes[i], 504);
  }
}

static void every_code_of_libuv_has_its_row(void **state) {
  static const struct {
    int code, canceled, timed_out;
  } rows[] = {
      {UV_ESHUTDOWN, 503, 503},    {UV_EAGAIN, 503, 503},       {UV_EBUSY, 503, 503},      {UV_ENOMEM, 503, 503},
      {UV_ENOBUFS, 503, 503},      {UV_EMFILE, 503, 503},       {UV_ENFILE, 503, 503},     {UV_ETIMEDOUT, 504, 504},
      {UV_ECANCELED, 499, 504},    {UV_ECONNREFUSED, 502, 504}, {UV_ECONNRESET, 502, 504}, {UV_EPIPE, 502, 504},
      {UV_EOF, 502, 504},          {UV_EPROTO, 502, 504},       {UV_ENOTCONN, 502, 504},   {UV_EHOSTUNREACH, 502, 504},
      {UV_ENETUNREACH, 502, 504},  {UV_EHOSTDOWN, 502, 504},    {UV_ENETDOWN, 502, 504},   {UV_ECONNABORTED, 502, 504},
      {UV_EAI_NONAME, 502, 504},   {UV_EAI_AGAIN, 502, 504},    {UV_EAI_FAIL, 502, 504},   {UV_EAI_MEMORY, 502, 504},
      {UV_EAI_CANCELED, 502, 504},
  };
  int listed = 0;
  (void)state;
#define COUNT(name, text)                                                                                              \
  {                                                                                                                    \
    int canceled = 500, timed_out = 504;                                                                               \
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {                                                                    \
      if (rows[i].code != UV_##name) continue;                                                                         \
      canceled = rows[i].canceled;                                                                                     \
      timed_out = rows[i].timed_out;                                                                                   \
      listed++;                                                                                                        \
    }                                                                                                                  \
    if (strncmp(#name, "EAI_", 4) == 0) canceled = 502;                                                                \
    check(UV_ECANCELED, UV_##name, canceled);                                                                          \
    check(UV_ETIMEDOUT, UV_##name, timed_out);                                                                         \
  }
  UV_ERRNO_MAP(COUNT)
#undef COUNT
  assert_int_equal(listed, ARRAY_SIZE(rows));
}

static void the_error_of_an_operation_stands_for_the_cause(void **state) {
  static const int causes[] = {0, UV_ECANCELED, UV_ETIMEDOUT, UV_ESHUTDOWN, 408, 7};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
    check(UV_ECONNREFUSED, causes[i], 502);
    check(UV_EAI_NONAME, causes[i], 502);
    check(UV_ENOMEM, causes[i], 503);
    check(UV_EINVAL, causes[i], 500);
    check(429, causes[i], 429);
    check(1, causes[i], 500);
  }
}

static void an_operation_that_ended_in_a_live_context_is_answered(void **state) {
  (void)state;
  check(UV_ETIMEDOUT, 0, 504);
  check(UV_ECANCELED, 0, 500);
}

/* --- contexts, as a server has them --- */

static int status_of(const uvf_ctx_t *ctx) { return uvf_http_status(uvf_ctx_err(ctx), uvf_ctx_cause(ctx, NULL)); }

static void a_request_ends_with_the_status_of_what_ended_it(void **state) {
  static const struct {
    int cause, status;
  } rows[] = {{UVF_CAUSE_CLIENT_LEFT, 499}, {UVF_CAUSE_OVERLOAD, 503}, {UV_ESHUTDOWN, 503},
              {UV_ETIMEDOUT, 504},          {UV_ECONNREFUSED, 502},    {0, 499}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_ctx_t *request, *part;
    assert_int_equal(uvf_ctx_with_timeout(f->root, 60000, &request), 0);
    assert_int_equal(uvf_ctx_with_cancel(request, &part), 0);
    assert_int_equal(status_of(request), 200);
    uvf_ctx_cancel_cause(request, rows[i].cause, NULL);
    assert_int_equal(status_of(request), rows[i].status);
    assert_int_equal(status_of(part), rows[i].status);
    uvf_ctx_release(part);
    uvf_ctx_release(request);
  }
}

static void a_budget_that_is_used_up_is_a_deadline(void **state) {
  fixture_t *f = *state;
  uint64_t now = uv_hrtime(), incoming;
  uvf_ctx_t *request;
  assert_int_equal(uvf_grpc_timeout_parse(TEXT("5m"), &incoming), 0);
  now = uvf_budget_deadline_ns(now, uvf_budget_ns(incoming, 1000 * MS_NS, 5 * MS_NS));
  assert_int_equal(uvf_ctx_with_deadline(f->root, now, &request), 0);
  assert_int_equal(status_of(request), 504);
  uvf_ctx_release(request);
  assert_int_equal(uvf_ctx_with_deadline_cause(f->root, now, UVF_CAUSE_CLIENT_SLOW, NULL, &request), 0);
  assert_int_equal(status_of(request), 408);
  uvf_ctx_release(request);
}

static void a_budget_without_limit_is_no_deadline(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *request;
  uint64_t budget = uvf_budget_ns(UVF_NO_DEADLINE, UVF_NO_DEADLINE, 5 * MS_NS);
  assert_int_equal(uvf_ctx_with_deadline(f->root, uvf_budget_deadline_ns(uv_hrtime(), budget), &request), 0);
  assert_int_equal(status_of(request), 200);
  assert_true(uvf_ctx_deadline_ns(request) == UVF_NO_DEADLINE);
  uvf_ctx_release(request);
}

static void a_closed_root_makes_its_requests_unavailable(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *request;
  assert_int_equal(uvf_ctx_with_timeout(f->root, 60000, &request), 0);
  fixture_close_root(f);
  assert_int_equal(status_of(request), 503);
  uvf_ctx_release(request);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      codec(what_went_well_is_200_whatever_the_cause),
      codec(a_cause_that_is_an_error_of_http_is_the_status),
      codec(other_causes_of_the_users_are_500_and_of_a_deadline_504),
      codec(every_code_of_libuv_has_its_row),
      codec(the_error_of_an_operation_stands_for_the_cause),
      codec(an_operation_that_ended_in_a_live_context_is_answered),
      unit(a_request_ends_with_the_status_of_what_ended_it),
      unit(a_budget_that_is_used_up_is_a_deadline),
      unit(a_budget_without_limit_is_no_deadline),
      unit(a_closed_root_makes_its_requests_unavailable),
  };
  return test_run(tests);
}
