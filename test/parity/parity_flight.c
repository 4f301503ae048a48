/* SPDX-License-Identifier: MIT
 *
 * Parity rows F-1 to F-11: Go's singleflight. A function that panics is an execution that ends with an error; one that
 * leaves its goroutine is one whose thread is gone without a result, or that never ends at all.
 */
#include "parity.h"
#include "race.h"

/* --- callers and executions --- */

enum { STARTS_MAX = 8 };

typedef struct office_s {
  int starts;
  uvf_flight_call_t *calls[STARTS_MAX];
  void (*at_start)(struct office_s *office, uvf_flight_call_t *call); /* or NULL */
} office_t;

static void on_start(uvf_flight_call_t *call, void *arg) {
  office_t *office = arg;
  office->calls[office->starts++ % STARTS_MAX] = call;
  if (office->at_start != NULL) office->at_start(office, call);
}

typedef struct caller_s {
  uvf_wait_t wait;
  int calls;
  int status;
  void *value;
  int shared;
} caller_t;

static void on_told(uvf_wait_t *wait, int status) {
  caller_t *c = wait->data;
  c->calls++;
  c->status = status;
  c->value = wait->value;
  c->shared = uvf_flight_is_shared(wait);
}

static void ask(caller_t *c, uvf_ctx_t *ctx, uvf_flight_t *flight, const char *key, office_t *office) {
  memset(c, 0xff, sizeof *c);
  c->wait.data = c;
  c->calls = 0;
  assert_int_equal(uvf_flight_do(ctx, &c->wait, flight, key, strlen(key), on_start, office, on_told), 0);
  assert_int_equal(c->calls, 0);
}

#define assert_told(c, wanted_status, wanted_value)                                                                    \
  do {                                                                                                                 \
    assert_int_equal((c)->calls, 1);                                                                                   \
    assert_int_equal((c)->status, wanted_status);                                                                      \
    assert_ptr_equal((c)->value, wanted_value);                                                                        \
  } while (0)

static void flight_open(uvf_flight_t *flight, uvf_ctx_t *ctx) { assert_int_equal(uvf_flight_init(flight, ctx), 0); }
static void flight_close(uvf_flight_t *flight) { assert_int_equal(uvf_flight_destroy(flight), 0); }

static char result[] = "bar";

static void succeed_at_once(office_t *office, uvf_flight_call_t *call) {
  (void)office;
  if (uvf_flight_end(call, 0, result, NULL) != 0) abort();
}

static void fail_at_once(office_t *office, uvf_flight_call_t *call) {
  (void)office;
  if (uvf_flight_end(call, CAUSE_X, NULL, NULL) != 0) abort();
}

/* --- an execution on the pool --- */

typedef struct errand_s {
  uvf_work_t work;
  uvf_flight_call_t *call;
  int status; /* of the function; what its caller is told */
  void *value;
  uv_sem_t *hold; /* NULL: it runs through */
  int *over;
} errand_t;

static int errand_run(uvf_work_t *work) {
  errand_t *errand = work->data;
  if (errand->hold != NULL) uv_sem_wait(errand->hold);
  return errand->status;
}

static void errand_done(uvf_work_t *work, int status) {
  errand_t *errand = work->data;
  ++*errand->over;
  (void)uvf_flight_end(errand->call, status, status == 0 ? errand->value : NULL, NULL);
}

static errand_t errand;

static void send_errand(office_t *office, uvf_flight_call_t *call) {
  (void)office;
  errand.call = call;
  errand.work.data = &errand;
  if (uvf_work_start(uvf_flight_ctx(call), &errand.work, errand_run, errand_done, NULL) != 0) abort();
}

static void errand_init(int status, void *value, uv_sem_t *hold, int *over) {
  memset(&errand, 0, sizeof errand);
  errand.status = status;
  errand.value = value;
  errand.hold = hold;
  errand.over = over;
}

/* --- the rows --- */

static void f01_an_execution_that_breaks_reaches_its_caller_as_an_error_with_its_details(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {0};
  caller_t c;
  char details[] = "what went wrong, and where";
  flight_open(&flight, f->root);
  ask(&c, f->root, &flight, "key", &office);
  settle(&f->loop);
  assert_int_equal(uvf_flight_end(office.calls[0], UV_EFAULT, details, NULL), 0);
  settle(&f->loop);
  assert_told(&c, UV_EFAULT, details);
  flight_close(&flight);
}

static void f02_the_caller_gets_the_value(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {.at_start = succeed_at_once};
  caller_t c;
  flight_open(&flight, f->root);
  ask(&c, f->root, &flight, "key", &office);
  settle(&f->loop);
  assert_told(&c, 0, result);
  assert_string_equal(c.value, "bar");
  flight_close(&flight);
}

static void f03_the_caller_gets_the_error_and_no_value(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {.at_start = fail_at_once};
  caller_t c;
  flight_open(&flight, f->root);
  ask(&c, f->root, &flight, "key", &office);
  settle(&f->loop);
  assert_told(&c, CAUSE_X, NULL);
  flight_close(&flight);
}

static void f04_ten_callers_of_one_key_on_two_loops_share_an_execution_on_the_pool(void **state) {
  fixture_t *f = *state;
  other_t *o = other_open();
  uvf_flight_t flight;
  office_t office = {.at_start = send_errand};
  caller_t callers[10];
  uv_sem_t hold;
  int over = 0;
  settle(&o->loop);
  assert_int_equal(uv_sem_init(&hold, 0), 0);
  errand_init(0, result, &hold, &over);
  flight_open(&flight, f->root);
  for (int i = 0; i < 10; i++) {
    ask(&callers[i], i % 2 ? o->root : f->root, &flight, "key", &office);
    if (i == 4) settle_both(f, o); /* the others come while it runs */
  }
  uv_sem_post(&hold);
  run_until(&f->loop, &over, 1);
  settle_both(f, o);
  for (int i = 0; i < 10; i++) {
    assert_told(&callers[i], 0, result);
    assert_int_equal(callers[i].shared, 1);
  }
  assert_int_equal(office.starts, 1); /* at least once, and fewer times than they are */
  uv_sem_destroy(&hold);
  flight_close(&flight);
  other_close(o);
}

static void f05_after_forget_a_second_execution_starts_which_the_first_ones_end_leaves_alone(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t first = {0}, second = {0}, third = {0};
  caller_t callers[3];
  int one, two;
  flight_open(&flight, f->root);
  ask(&callers[0], f->root, &flight, "key", &first);
  settle(&f->loop);
  assert_int_equal(uvf_flight_forget(&flight, "key", 3), 1);
  ask(&callers[1], f->root, &flight, "key", &second);
  settle(&f->loop);
  assert_int_equal(first.starts + second.starts, 2);
  assert_int_equal(uvf_flight_end(first.calls[0], 0, &one, NULL), 0);
  settle(&f->loop);
  assert_told(&callers[0], 0, &one);
  ask(&callers[2], f->root, &flight, "key", &third); /* joins the second */
  settle(&f->loop);
  assert_int_equal(third.starts, 0);
  assert_int_equal(uvf_flight_end(second.calls[0], 0, &two, NULL), 0);
  settle(&f->loop);
  assert_told(&callers[1], 0, &two);
  assert_told(&callers[2], 0, &two);
  assert_int_equal(callers[0].shared, 0);
  assert_int_equal(callers[1].shared + callers[2].shared, 2);
  flight_close(&flight);
}

static void f06_value_and_error_come_without_the_caller_waiting_for_them(void **state) {
  fixture_t *f = *state;
  for (int fails = 0; fails < 2; fails++) {
    uvf_flight_t flight;
    office_t office = {.at_start = fails ? fail_at_once : succeed_at_once};
    caller_t c;
    flight_open(&flight, f->root);
    ask(&c, f->root, &flight, "key", &office);
    assert_int_equal(office.starts, 0); /* it went on before anything began */
    settle(&f->loop);
    assert_told(&c, fails ? CAUSE_X : 0, fails ? NULL : result);
    flight_close(&flight);
  }
}

typedef struct end_s {
  uvf_flight_call_t *call;
  int status;
} end_t;

static void end_from_thread(void *arg) {
  end_t *end = arg;
  if (uvf_flight_end(end->call, end->status, NULL, NULL) != 0) abort();
}

static void f07_an_execution_that_breaks_on_another_thread_tells_all_five_and_none_hangs(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {0};
  caller_t callers[5];
  end_t end = {NULL, UV_EFAULT};
  flight_open(&flight, f->root);
  for (int i = 0; i < 5; i++) ask(&callers[i], f->root, &flight, "key", &office);
  settle(&f->loop);
  end.call = office.calls[0];
  run_on_thread(end_from_thread, &end);
  run_until(&f->loop, &callers[4].calls, 1);
  for (int i = 0; i < 5; i++) assert_told(&callers[i], UV_EFAULT, NULL);
  assert_int_equal(office.starts, 1);
  flight_close(&flight);
}

/* The function returns without having made anything. */
static void f08_an_execution_whose_thread_leaves_without_a_result_hangs_nobody_and_is_no_error(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {.at_start = send_errand};
  caller_t callers[5];
  int over = 0;
  errand_init(0, NULL, NULL, &over);
  flight_open(&flight, f->root);
  for (int i = 0; i < 5; i++) ask(&callers[i], f->root, &flight, "key", &office);
  run_until(&f->loop, &callers[4].calls, 1);
  settle(&f->loop);
  for (int i = 0; i < 5; i++) assert_told(&callers[i], 0, NULL);
  assert_int_equal(over, 1);
  flight_close(&flight);
}

static void f09_an_execution_that_never_ends_keeps_nobody_longer_than_his_context_does(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {0};
  caller_t patient, again;
  uvf_ctx_t *timed = timeout_of(f->root, 5);
  flight_open(&flight, f->root);
  ask(&patient, timed, &flight, "key", &office);
  run_until(&f->loop, &patient.calls, 1);
  assert_told(&patient, UV_ETIMEDOUT, NULL);
  assert_int_equal(office.starts, 1);
  assert_int_equal(uvf_flight_forget(&flight, "key", 3), 1); /* and the key is not lost with it */
  office.at_start = succeed_at_once;
  ask(&again, f->root, &flight, "key", &office);
  settle(&f->loop);
  assert_told(&again, 0, result);
  assert_int_equal(uvf_flight_end(office.calls[0], UV_EFAULT, NULL, NULL), 0); /* so late that nobody minds */
  settle(&f->loop);
  assert_int_equal(patient.calls, 1);
  RELEASE(timed);
  flight_close(&flight);
}

static void f10_an_execution_that_is_ended_with_its_context_tells_callers_of_every_kind(void **state) {
  fixture_t *f = *state;
  other_t *o = other_open();
  uvf_flight_t flight;
  office_t office = {.at_start = send_errand};
  caller_t here, there;
  uvf_ctx_t *ctx = cancel_of(f->root);
  uv_sem_t hold;
  int over = 0;
  settle(&o->loop);
  assert_int_equal(uv_sem_init(&hold, 0), 0);
  errand_init(0, result, &hold, &over);
  flight_open(&flight, ctx);
  ask(&here, f->root, &flight, "key", &office);
  ask(&there, o->root, &flight, "key", &office);
  settle_both(f, o);
  assert_int_equal(office.starts, 1);
  uvf_ctx_cancel(ctx);
  uv_sem_post(&hold);
  run_until(&f->loop, &here.calls, 1);
  settle_both(f, o);
  assert_told(&here, UV_ECANCELED, NULL);
  assert_told(&there, UV_ECANCELED, NULL);
  uv_sem_destroy(&hold);
  RELEASE(ctx);
  flight_close(&flight);
  other_close(o);
}

static void f11_two_callers_before_the_end_share_one_execution_and_are_told_once(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  office_t office = {0};
  caller_t callers[2];
  flight_open(&flight, f->root);
  for (int i = 0; i < 2; i++) {
    ask(&callers[i], f->root, &flight, "key", &office);
    settle(&f->loop);
  }
  assert_int_equal(office.starts, 1);
  assert_int_equal(uvf_flight_end(office.calls[0], 0, result, NULL), 0);
  settle(&f->loop);
  for (int i = 0; i < 2; i++) {
    assert_told(&callers[i], 0, result);
    assert_int_equal(callers[i].shared, 1);
  }
  settle(&f->loop);
  assert_int_equal(callers[0].calls + callers[1].calls, 2); /* nothing more ever comes */
  flight_close(&flight);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(f01_an_execution_that_breaks_reaches_its_caller_as_an_error_with_its_details),
      unit(f02_the_caller_gets_the_value),
      unit(f03_the_caller_gets_the_error_and_no_value),
      unit(f04_ten_callers_of_one_key_on_two_loops_share_an_execution_on_the_pool),
      unit(f05_after_forget_a_second_execution_starts_which_the_first_ones_end_leaves_alone),
      unit(f06_value_and_error_come_without_the_caller_waiting_for_them),
      unit(f07_an_execution_that_breaks_on_another_thread_tells_all_five_and_none_hangs),
      unit(f08_an_execution_whose_thread_leaves_without_a_result_hangs_nobody_and_is_no_error),
      unit(f09_an_execution_that_never_ends_keeps_nobody_longer_than_his_context_does),
      unit(f10_an_execution_that_is_ended_with_its_context_tells_callers_of_every_kind),
      unit(f11_two_callers_before_the_end_share_one_execution_and_are_told_once),
  };
  return test_run(tests);
}
