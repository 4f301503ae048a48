/* SPDX-License-Identifier: MIT
 *
 * What the tests of retries share: a call whose attempts do as a script says and which notes all that is called back,
 * and a clock that stands still until it is moved, so that pauses are checked to the nanosecond.
 */
#ifndef UVFLOW_TEST_RETRY_PROBE_H
#define UVFLOW_TEST_RETRY_PROBE_H

#include "kernel/hub.h"
#include "unit/probe.h"

/* --- a clock of the test's own --- */

static uint64_t fake_ns;

static inline uint64_t fake_clock(void) { return fake_ns; }

static inline int clock_setup(void **state) {
  if (fixture_setup(state) != 0) return -1;
  fake_ns = uv_hrtime();
  uvf__clock_ns = fake_clock;
  return 0;
}

static inline int clock_teardown(void **state) {
  int err = fixture_teardown(state);
  uvf__clock_ns = uv_hrtime;
  return err;
}

#define unit_clock(f) cmocka_unit_test_setup_teardown(f, clock_setup, clock_teardown)

/* Moves the clock, and lets everything happen that is due by it. */
static inline void pass_ns(uv_loop_t *loop, uint64_t ns) {
  fake_ns += ns;
  uvf__hub_run_deadlines(uvf__hub_find(loop));
  turn(loop);
}

static inline void pass_ms(uv_loop_t *loop, uint64_t ms) { pass_ns(loop, ms * MS_NS); }

/* --- a call --- */

#define CALL_MAX 16

typedef enum how_e {
  LATER,   /* the test ends it: finish() */
  AT_ONCE, /* start returns the status */
  INSIDE,  /* start calls uvf_attempt_done */
  SLEEPS   /* ms under its context; then the status, or what ended the sleep */
} how_t;

typedef struct step_s {
  how_t how;
  int status;
  uint64_t ms;
} step_t;

typedef struct call_s call_t;

struct call_s {
  uvf_retry_t retry;
  uvf_attempt_t attempts[CALL_MAX];
  uvf_sleep_t sleeps[CALL_MAX];
  uint64_t at_ns[CALL_MAX]; /* when each began */
  uint64_t done_ns;
  const step_t *steps; /* the last one is repeated */
  unsigned int nsteps;
  unsigned int n;
  int starts, dones, releases;
  int asked;  /* retryable */
  int answer; /* ... and what it says */
  int status;
  int in_call; /* a call of the test's is on the stack: nothing may be called back */
  int wrong;   /* ... and was; or in the wrong order, with the wrong fields */
  void (*in_start)(call_t *call, uvf_attempt_t *attempt); /* hooks; may be NULL */
  void (*in_retryable)(call_t *call);
  void (*in_done)(call_t *call);
  void (*in_release)(call_t *call);
  void *arg;
};

static inline call_t *call_of(uvf_retry_t *retry) { return (call_t *)retry; }

static inline int running_of(const call_t *call) {
  int n = 0;
  for (unsigned int i = 0; i < call->n; i++)
    n += call->attempts[i].uvf__state == 2 || call->attempts[i].uvf__state == 3;
  return n;
}

/* Ends an attempt from outside of all callbacks. */
static inline int finish(call_t *call, unsigned int i, int status) {
  int err;
  call->in_call++;
  err = uvf_attempt_done(&call->attempts[i], status);
  call->in_call--;
  return err;
}

static inline void on_call_slept(uvf_sleep_t *sleep, int status) {
  uvf_attempt_t *attempt = sleep->data;
  call_t *call = call_of(attempt->retry);
  unsigned int i = attempt->number < call->nsteps ? attempt->number : call->nsteps - 1;
  if (finish(call, attempt->number, status != 0 ? status : call->steps[i].status) != 0) call->wrong++;
}

static inline int on_call_start(uvf_attempt_t *attempt) {
  call_t *call = call_of(attempt->retry);
  unsigned int number = attempt->number;
  const step_t *step = &call->steps[number < call->nsteps ? number : call->nsteps - 1];
  if (call->in_call != 0 || call->dones != 0 || attempt->ctx == NULL) call->wrong++;
  if (number + 1 != call->retry.started || attempt != &call->attempts[number] || attempt->data != attempt)
    call->wrong++;
  call->at_ns[number] = uvf__clock_ns();
  call->starts++;
  if (call->in_start != NULL) call->in_start(call, attempt);
  switch (step->how) {
    case AT_ONCE: return step->status;
    case INSIDE: return finish(call, number, step->status);
    case SLEEPS:
      call->sleeps[number].data = attempt;
      return uvf_sleep_start(attempt->ctx, &call->sleeps[number], step->ms, on_call_slept);
    default: return 0;
  }
}

static inline int on_call_retryable(uvf_attempt_t *attempt, int status) {
  call_t *call = call_of(attempt->retry);
  call->asked++;
  if (status == 0 || attempt->status != status || call->dones != 0) call->wrong++;
  if (call->in_retryable != NULL) call->in_retryable(call);
  return call->answer;
}

static inline void on_call_done(uvf_retry_t *retry, int status) {
  call_t *call = call_of(retry);
  call->done_ns = uvf__clock_ns();
  if (call->in_call != 0 || call->dones != 0 || call->releases != 0 || status != retry->status) call->wrong++;
  if ((retry->winner != NULL) != (status == 0)) call->wrong++;
  if (retry->winner != NULL && retry->winner->status != 0) call->wrong++;
  call->dones++;
  call->status = status;
  if (call->in_done != NULL) call->in_done(call);
}

static inline void on_call_release(uvf_retry_t *retry) {
  call_t *call = call_of(retry);
  if (call->in_call != 0 || call->dones != 1 || call->releases != 0 || running_of(call) != 0) call->wrong++;
  call->releases++;
  if (call->in_release != NULL) call->in_release(call);
}

/* Empty, but for the script; retry and attempts hold junk, as the header allows. */
static inline void call_init(call_t *call, const step_t *steps, unsigned int nsteps, unsigned int n) {
  memset(call, 0, sizeof *call);
  memset(&call->retry, 0xff, sizeof call->retry);
  memset(call->attempts, 0xff, sizeof call->attempts);
  for (size_t i = 0; i < CALL_MAX; i++) call->attempts[i].data = &call->attempts[i];
  call->steps = steps;
  call->nsteps = nsteps;
  call->n = n;
  call->answer = 1;
  call->status = 1;
}

#define CALL_INIT(call, n, ...)                                                                                        \
  static const step_t call##_steps[] = {__VA_ARGS__};                                                                  \
  call_init(&(call), call##_steps, (unsigned int)ARRAY_SIZE(call##_steps), (n))

static inline uvf_retry_options_t options_of(uint64_t backoff_ms, uint64_t most_ms, uint64_t hedge_ms) {
  uvf_retry_options_t o;
  uvf_retry_options_init(&o);
  o.backoff_ms = backoff_ms;
  o.backoff_max_ms = most_ms;
  o.hedge_ms = hedge_ms;
  o.retryable = on_call_retryable;
  return o;
}

static inline void call_start(call_t *call, uvf_ctx_t *ctx, const uvf_retry_options_t *o, int release) {
  int err;
  call->in_call++;
  err = uvf_retry_start(ctx, &call->retry, call->attempts, call->n, o, on_call_start, on_call_done,
                        release ? on_call_release : NULL);
  call->in_call--;
  assert_int_equal(err, 0);
  assert_int_equal(call->starts, 0);
}

/* Each callback has come as often as it should, and nothing was out of order. */
static inline void assert_call(const call_t *call, int starts, int dones, int releases) {
  assert_int_equal(call->wrong, 0);
  assert_int_equal(call->starts, starts);
  assert_int_equal(call->dones, dones);
  assert_int_equal(call->releases, releases);
}

/* Moves the clock a ms at a time until it is decided, or `most` ms are over; returns how many were. */
static inline uint64_t pass_until_done(call_t *call, uv_loop_t *loop, uint64_t most) {
  uint64_t ms = 0;
  turn(loop);
  while (call->dones == 0 && ms < most) {
    pass_ms(loop, 1);
    ms++;
  }
  return ms;
}

#endif
