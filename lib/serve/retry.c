/* SPDX-License-Identifier: MIT
 *
 * Several attempts at one thing: retries after a pause, hedges before an answer.
 *
 * Parties, all on the loop thread: the attempts (start, uvf_attempt_done); the timeout, which is when the next attempt
 * begins; whoever ends the whole early; the hub's drain.
 *
 * Invariants
 * 1. `held` counts the attempts that have begun and are not done, plus the post that brings the first one about, plus a
 *    start that runs: the retry and its attempts are the library's until it is 0 (held.c).
 * 2. It is PENDING as long as it is not decided. Then the timeout is off, every attempt that runs is cancelled, and
 *    none begins any more.
 * 3. An attempt goes WAITING -> STARTING -> RUNNING -> DONE; DONE may come inside its start. Its context is given back
 *    there.
 * 4. While PENDING something is under way: an attempt, the timeout, or the post. So it is decided in the end.
 */
#include "io/io.h"
#include "serve/budget.h"
#include "uvflow/serve.h"

_Static_assert(sizeof(uvf__post_t) <= sizeof(((uvf_retry_t *)0)->uvf__first), "the first attempt is begun by a post");

enum { WAITING = 1, STARTING, RUNNING, DONE };

static uvf_retry_t *of(uvf_op_t *op) { return (uvf_retry_t *)(void *)op; }
static uvf_op_t *op_of(uvf_retry_t *retry) { return (uvf_op_t *)(void *)retry; }
static uvf__hub_t *hub_of(const uvf_retry_t *retry) { return uvf__ctx_hub(retry->ctx); }

UVF__HELD_CALLBACKS(retry, uvf_retry_t)

static int is_pending(uvf_retry_t *retry) { return uvf__u32_load(&op_of(retry)->uvf__state) == UVF__OP_PENDING; }

static int is_running(const uvf_attempt_t *attempt) {
  return attempt->uvf__state == STARTING || attempt->uvf__state == RUNNING;
}

/* --- the end ---------------------------------------------------------------------------------- */

static int withdraw(uvf_op_t *op) {
  uvf_retry_t *retry = of(op);
  uvf__timeout_stop(hub_of(retry), &retry->uvf__timeout);
  for (unsigned int i = 0; i < retry->started; i++) {
    uvf_attempt_t *attempt = &retry->uvf__attempts[i];
    if (is_running(attempt) && attempt->ctx != NULL) uvf_ctx_cancel(attempt->ctx);
  }
  return uvf__held_may_tell(op);
}

static const uvf__held_type_t type = {{"retry", withdraw, uvf__held_deliver, NULL, 0, NULL},
                                      offsetof(uvf_retry_t, uvf__held),
                                      retry_has_release,
                                      retry_done,
                                      retry_release};

/* It is decided. The caller settles. */
static void decide(uvf_retry_t *retry, int status, uvf_attempt_t *winner) {
  if (uvf__held_claim(op_of(retry), status)) retry->winner = winner;
  withdraw(op_of(retry));
}

/* --- when the next one begins ----------------------------------------------------------------- */

static uint64_t later(uint64_t now_ns, uint64_t ns) { return ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + ns; }

static uint64_t ms_to_ns(uint64_t ms) { return uvf__after_ms(0, ms); }

/* The pause before the next attempt, 0.8 to 1.2 of what it would be; the one after it is twice as long. */
static uint64_t take_pause(uvf_retry_t *retry) {
  uint64_t most_ns = ms_to_ns(retry->uvf__options.backoff_max_ms);
  uint64_t pause_ns = retry->uvf__pause_ns;
  uint64_t fifth = pause_ns / 5;
  retry->uvf__pause_ns = pause_ns > most_ns / 2 ? most_ns : 2 * pause_ns;
  if (fifth == 0) return pause_ns;
  retry->uvf__random ^= retry->uvf__random << 13;
  retry->uvf__random ^= retry->uvf__random >> 7;
  retry->uvf__random ^= retry->uvf__random << 17;
  return later(pause_ns - fifth, retry->uvf__random % (2 * fifth));
}

static void on_time(uvf__timeout_t *timeout);

/* Another one at at_ns, or earlier if that is arranged already. 0: there will be none: no more are allowed, or it would
 * come too late. */
static int arrange(uvf_retry_t *retry, uint64_t at_ns) {
  if (retry->started == retry->uvf__count || !uvf__budget_allows(retry->uvf__options.budget)) return 0;
  if (at_ns >= uvf_ctx_deadline_ns(retry->ctx)) return 0;
  if (retry->uvf__timeout.deadline.link.prev != NULL) {
    if (retry->uvf__timeout.deadline.at_ns <= at_ns) return 1;
    uvf__timeout_stop(hub_of(retry), &retry->uvf__timeout);
  }
  uvf__timeout_start(hub_of(retry), &retry->uvf__timeout, at_ns, on_time);
  return 1;
}

/* --- attempts --------------------------------------------------------------------------------- */

static int is_retryable(uvf_retry_t *retry, uvf_attempt_t *attempt, int status) {
  return retry->uvf__options.retryable == NULL || retry->uvf__options.retryable(attempt, status);
}

static void failed(uvf_retry_t *retry, uvf_attempt_t *attempt, int status) {
  int again;
  retry->failed++;
  retry->uvf__err = status;
  again = is_retryable(retry, attempt, status); /* may end the whole */
  if (again && attempt->ctx != NULL) uvf__budget_note(retry->uvf__options.budget, 0);
  if (!is_pending(retry)) return;
  again = again && (arrange(retry, later(uvf__clock_ns(), take_pause(retry))) || retry->uvf__running > 0 ||
                    retry->uvf__timeout.deadline.link.prev != NULL);
  if (!again) decide(retry, status, NULL);
}

/* It has begun, and is done. */
static void over(uvf_attempt_t *attempt, int status) {
  uvf_retry_t *retry = attempt->retry;
  uvf_ctx_t *ctx = attempt->ctx;
  attempt->uvf__state = DONE;
  attempt->status = status;
  retry->uvf__running--;
  if (is_pending(retry)) {
    if (status == 0) {
      uvf__budget_note(retry->uvf__options.budget, 1);
      decide(retry, 0, attempt);
    } else {
      failed(retry, attempt, status);
    }
  }
  uvf_ctx_release(ctx);
  retry->uvf__held.held--;
  uvf__held_settle(op_of(retry));
}

static int derive(uvf_retry_t *retry, uvf_attempt_t *attempt) {
  attempt->ctx = NULL;
  if (retry->uvf__options.attempt_ms == 0 || retry->uvf__options.attempt_ms == UVF_NO_LIMIT)
    return uvf_ctx_with_cancel(retry->ctx, &attempt->ctx);
  return uvf_ctx_with_timeout(retry->ctx, retry->uvf__options.attempt_ms, &attempt->ctx);
}

/* The retry is held by the caller meanwhile. */
static void begin_attempt(uvf_retry_t *retry) {
  uvf_attempt_t *attempt = &retry->uvf__attempts[retry->started++];
  int err;
  attempt->uvf__state = STARTING;
  retry->uvf__running++;
  retry->uvf__held.held++;
  if (retry->uvf__options.hedge_ms != 0 && retry->uvf__options.hedge_ms != UVF_NO_LIMIT)
    arrange(retry, later(uvf__clock_ns(), ms_to_ns(retry->uvf__options.hedge_ms)));
  err = derive(retry, attempt);
  if (err == 0) err = retry->uvf__start(attempt);
  if (attempt->uvf__state != STARTING) { /* done inside */
    UVF__RULE(err == 0, "uvf_attempt_start_cb", "it returned an error after uvf_attempt_done: it ended twice");
    return;
  }
  if (err != 0) {
    over(attempt, err);
  } else {
    attempt->uvf__state = RUNNING;
  }
}

static void begin_held(uvf_retry_t *retry) {
  retry->uvf__held.held++;
  begin_attempt(retry);
  retry->uvf__held.held--;
  uvf__held_settle(op_of(retry));
}

static void on_time(uvf__timeout_t *timeout) {
  uvf_retry_t *retry = UVF__CONTAINER(timeout, uvf_retry_t, uvf__timeout);
  int err = uvf__ctx_err(retry->ctx);
  uvf__hub_ring_user(hub_of(retry));
  if (err == 0 && uvf__budget_allows(retry->uvf__options.budget)) {
    begin_held(retry);
  } else if (err != 0 || retry->uvf__running == 0) {
    decide(retry, retry->uvf__err, NULL);
    uvf__held_settle(op_of(retry));
  }
}

/* --- start ------------------------------------------------------------------------------------ */

static void on_first(uvf__post_t *post, int closed) {
  uvf_retry_t *retry = UVF__CONTAINER(post, uvf_retry_t, uvf__first);
  uvf__hub_t *hub = hub_of(retry);
  int posting = hub->posting;
  (void)closed;     /* never: the retry keeps its root */
  hub->posting = 0; /* what the start function does comes from this thread */
  if (is_pending(retry) && uvf__ctx_err(retry->ctx) == 0) begin_attempt(retry);
  hub->posting = posting;
  retry->uvf__held.held--;
  uvf__held_settle(op_of(retry));
}

void uvf_retry_options_init(uvf_retry_options_t *options) {
  if (options == NULL) return;
  options->attempt_ms = UVF_NO_LIMIT;
  options->hedge_ms = UVF_NO_LIMIT;
  options->backoff_ms = 100;
  options->backoff_max_ms = 1000;
  options->retryable = NULL;
  options->budget = NULL;
}

static void init(uvf_retry_t *retry, uvf_attempt_t attempts[], unsigned int n, const uvf_retry_options_t *options) {
  retry->winner = NULL;
  retry->started = 0;
  retry->failed = 0;
  retry->uvf__attempts = attempts;
  retry->uvf__count = n;
  retry->uvf__running = 0;
  retry->uvf__err = 0;
  if (options != NULL) {
    retry->uvf__options = *options;
  } else {
    uvf_retry_options_init(&retry->uvf__options);
  }
  retry->uvf__pause_ns = ms_to_ns(retry->uvf__options.backoff_ms);
  if (retry->uvf__options.backoff_ms > retry->uvf__options.backoff_max_ms)
    retry->uvf__pause_ns = ms_to_ns(retry->uvf__options.backoff_max_ms);
  retry->uvf__random = uvf__clock_ns() ^ (uint64_t)(uintptr_t)retry ^ UINT64_C(0x9e3779b97f4a7c15);
  if (retry->uvf__random == 0) retry->uvf__random = 1;
  retry->uvf__held.held = 0;
  retry->uvf__held.told = 0;
  retry->uvf__timeout.deadline.link.prev = NULL;
  for (unsigned int i = 0; i < n; i++) {
    attempts[i].retry = retry;
    attempts[i].ctx = NULL;
    attempts[i].number = i;
    attempts[i].status = 0;
    attempts[i].uvf__state = WAITING;
  }
}

int(uvf_retry_start)(uvf_ctx_t *ctx, uvf_retry_t *retry, uvf_attempt_t attempts[], unsigned int n,
                     const uvf_retry_options_t *options, uvf_attempt_start_cb start, uvf_retry_cb done_cb,
                     uvf_retry_release_cb release_cb) {
  uvf__post_t *first;
  int rc;
  if (ctx == NULL || retry == NULL || attempts == NULL || n == 0 || start == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op_of(retry), &type.op, "uvf_retry_start");
  if (rc < 0) return rc;
  init(retry, attempts, n, options);
  retry->uvf__start = start;
  retry->uvf__done = done_cb;
  retry->uvf__release = release_cb;
  if (rc == 0) return 0;
  retry->uvf__held.held = 1;
  first = (uvf__post_t *)(void *)retry->uvf__first;
  first->apply = on_first;
  uvf__hub_post(uvf__ctx_hub(ctx), (uintptr_t)first | UVF__POST_CALL);
  return 0;
}

int uvf_attempt_done(uvf_attempt_t *attempt, int status) {
  int err;
  if (attempt == NULL) return UV_EINVAL;
  UVF__RULE(is_running(attempt), "uvf_attempt_done", "the attempt does not run: it has not been started, or is done");
  if (!is_running(attempt)) return UV_EINVAL;
  err = uvf__hub_enter(hub_of(attempt->retry), "uvf_attempt_done");
  if (err != 0) return err;
  over(attempt, status);
  return 0;
}
