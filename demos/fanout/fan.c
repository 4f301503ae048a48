/* SPDX-License-Identifier: MIT */
#include "fan.h"

#include <stdlib.h>
#include <string.h>

#include "headers.h"

static char why_all[] = "every URL has its result"; /* not const: a cause carries a void pointer */

/* --- outcomes ------------------------------------------------------------------------------------------------ */

static void decide(request_t *request, outcome_t outcome, const char *note) {
  fan_t *fan = request->fan;
  if (request->outcome != OUTCOME_PENDING) return;
  request->outcome = outcome;
  request->ended_ns = uv_hrtime();
  snprintf(request->note, sizeof(request->note), "%s", note ? note : "");
  fan->outcomes[outcome]++;
  fan->ended++;
  size_t good = fan->outcomes[OUTCOME_OK] + fan->outcomes[OUTCOME_HEDGED];
  /* Both are only marks: everything that they end is told later, from the loop. */
  if (fan->options->first && good == fan->options->first)
    uvf_ctx_cancel_cause(fan->ctx, CAUSE_ENOUGH, fan->enough_text);
  else if (fan->ended == fan->count)
    uvf_ctx_cancel_cause(fan->ctx, CAUSE_ALL_ANSWERED, why_all);
}

/* The outcome of a request whose context ended before there was an answer; the cause was given by whoever ended it. */
static void decide_by_cause(request_t *request, uvf_ctx_t *ctx, int status) {
  void *why = NULL;
  uvf_ctx_cause(ctx, &why);
  decide(request, status == UV_ETIMEDOUT ? OUTCOME_DEADLINE : OUTCOME_CANCELLED, why ? why : uv_strerror(status));
}

/* Lets go of a request that has its outcome and no attempt left. */
static void settle(request_t *request) {
  if (request->running || !request->ctx) return;
  /* Ends the hedge timer too, when the request failed. */
  uvf_ctx_cancel(request->ctx);
  uvf_ctx_release(request->ctx);
  request->ctx = NULL;
  request->fan->running--;
}

/* --- attempts ------------------------------------------------------------------------------------------------ */

static int ask_next(request_t *request);
static void start_more(fan_t *fan);

static size_t replicas(const request_t *request) {
  /* With --hedge a URL that stands alone is its own replica. */
  if (request->target->count == 1 && request->fan->options->hedge_ms) return 2;
  return request->target->count;
}

static void answered(request_t *request, const attempt_t *attempt) {
  request->url = attempt->url;
  request->http_status = attempt->get.http_status;
  request->bytes = attempt->get.bytes;
  char note[32] = "";
  if (attempt->number && request->target->count > 1)
    snprintf(note, sizeof(note), "replica %zu answered", attempt->number + 1);
  else if (attempt->number)
    snprintf(note, sizeof(note), "answered when asked again");
  decide(request, attempt->number ? OUTCOME_HEDGED : OUTCOME_OK, note);
  uvf_ctx_cancel_cause(request->ctx, CAUSE_WON, NULL); /* the losers and the hedge timer */
}

static void failed(request_t *request, const attempt_t *attempt, int status) {
  request->url = attempt->url;
  request->http_status = attempt->get.http_status;
  request->bytes = attempt->get.bytes;
  /* A replica that was given may do better; asking the same server again at once would not help it. */
  if (request->target->count > 1 && request->asked < replicas(request) && ask_next(request) == 0) return;
  if (request->running) return; /* another one may still answer */
  char note[32] = "";
  if (!status) snprintf(note, sizeof(note), "HTTP status %ld", attempt->get.http_status);
  decide(request, OUTCOME_FAILED, status ? attempt->get.error : note);
}

/* What came of a transfer that ended early: the attempt that had come farthest is shown. */
static void cut_short(request_t *request, const attempt_t *attempt, int status) {
  const http_get_t *get = &attempt->get;
  if (request->outcome == OUTCOME_PENDING) {
    request->http_status = 0; /* that of a replica that failed before */
    request->bytes = 0;
    decide_by_cause(request, attempt->ctx, status);
  }
  if (request->outcome != OUTCOME_DEADLINE && request->outcome != OUTCOME_CANCELLED) return;
  if (!request->http_status) request->http_status = get->http_status;
  if (get->bytes > request->bytes) request->bytes = get->bytes;
}

/* Called by http.c, from the loop, once for each attempt. */
static void on_get_done(http_get_t *get, int status) {
  attempt_t *attempt = container_of(get, attempt_t, get);
  request_t *request = attempt->request;
  fan_t *fan = request->fan;
  request->running--;
  if (uvf_ctx_err(request->ctx))
    cut_short(request, attempt, status); /* also the loser of two: its outcome stands already */
  else if (!status && get->http_status < 400)
    answered(request, attempt);
  else
    failed(request, attempt, status);
  uvf_ctx_release(attempt->ctx);
  curl_slist_free_all(attempt->headers);
  free(attempt);
  settle(request);
  start_more(fan);
}

/* Asks the next replica. 0, or UV_E* and the request is as it was. */
static int ask_next(request_t *request) {
  attempt_t *attempt = calloc(1, sizeof(*attempt));
  if (!attempt) return UV_ENOMEM;
  attempt->request = request;
  attempt->number = request->asked;
  attempt->url = request->target->urls[request->asked % request->target->count];
  int err = uvf_ctx_with_cancel(request->ctx, &attempt->ctx);
  if (!err) {
    err = headers_for(attempt->ctx, &attempt->headers);
    if (!err)
      err =
          http_get_start(request->fan->http, attempt->ctx, &attempt->get, attempt->url, attempt->headers, on_get_done);
    if (err) uvf_ctx_release(attempt->ctx);
  }
  if (err) {
    curl_slist_free_all(attempt->headers);
    free(attempt);
    return err;
  }
  if (request->asked == 1) request->hedged_ns = uv_hrtime();
  request->asked++;
  request->running++;
  return 0;
}

/* Called by libuv: there was no answer for --hedge's time. The timer is bound to the request's context, whose
 * end closes it; but in the same turn of the loop it may fire before that. */
static void on_hedge(uv_timer_t *timer) {
  request_t *request = container_of(timer, request_t, hedge_timer);
  if (!request->ctx || uvf_ctx_err(request->ctx)) return;
  if (request->asked < replicas(request)) {
    int err = ask_next(request);
    if (err) complain("a hedge could not be started", err); /* those before it go on */
  }
  if (request->asked >= replicas(request)) uv_timer_stop(timer);
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static int arm_hedge(request_t *request) {
  uint64_t ms = request->fan->options->hedge_ms;
  int err = uv_timer_init(uvf_ctx_loop(request->ctx), &request->hedge_timer);
  if (err) return err;
  err = uvf_guard_start(request->ctx, &request->hedge_guard, HANDLE(&request->hedge_timer), NULL);
  if (err) {
    uv_close(HANDLE(&request->hedge_timer), NULL);
    return err;
  }
  return uv_timer_start(&request->hedge_timer, on_hedge, ms, ms);
}

static void start(request_t *request) {
  fan_t *fan = request->fan;
  const options_t *options = fan->options;
  request->began_ns = uv_hrtime();
  int err = options->per_request_ms
                ? uvf_ctx_with_timeout_cause(fan->ctx, options->per_request_ms, CAUSE_REQUEST_DEADLINE,
                                             fan->request_text, &request->ctx)
                : uvf_ctx_with_cancel(fan->ctx, &request->ctx);
  if (!err) {
    fan->running++;
    if (options->hedge_ms && replicas(request) > 1) err = arm_hedge(request);
    if (!err) err = ask_next(request);
  }
  if (err) {
    decide(request, OUTCOME_FAILED, uv_strerror(err));
    settle(request);
  }
}

static void start_more(fan_t *fan) {
  while (fan->next < fan->count && fan->running < fan->options->concurrency && !uvf_ctx_err(fan->ctx))
    start(&fan->requests[fan->next++]);
}

/* Called by uvflow, on the loop, once the run's context is over, whoever ended it. The requests' ends were told before:
 * children come before parents. */
static void on_run_done(uvf_watch_t *watch, int status) {
  fan_t *fan = container_of(watch, fan_t, watch);
  void *why = NULL;
  fan->cause = uvf_ctx_cause(fan->ctx, &why);
  fan->why = why ? why : uv_strerror(status);
  while (fan->next < fan->count) { /* their turn never came */
    request_t *request = &fan->requests[fan->next++];
    decide_by_cause(request, fan->ctx, status);
    request->ended_ns = 0;
  }
  fan->ended_ns = uv_hrtime();
  uvf_ctx_release(fan->ctx);
  fan->ctx = NULL;
  fan->cb(fan);
}

/* The run's context: it carries the trace that every call is part of. Its deadline is counted from the start of the
 * program, so that its own setting up is inside. */
static int derive_run(fan_t *fan, uvf_ctx_t *parent) {
  uvf_trace_t trace;
  uvf_ctx_t *traced;
  int err = uvf_trace_new(&trace);
  if (!err) err = uvf_ctx_with_trace(parent, &trace, &traced);
  if (err) return err;
  err = uvf_ctx_with_deadline_cause(traced, fan->began_ns + fan->options->timeout_ms * MS_NS, CAUSE_WHOLE_DEADLINE,
                                    fan->deadline_text, &fan->ctx);
  uvf_ctx_release(traced);
  return err;
}

int fan_start(fan_t *fan, uvf_ctx_t *parent, http_t *http, const options_t *options, uint64_t began_ns,
              fan_done_cb cb) {
  memset(fan, 0, sizeof(*fan));
  fan->options = options;
  fan->http = http;
  fan->cb = cb;
  fan->began_ns = began_ns;
  fan->count = options->targets.count;
  fan->requests = calloc(fan->count, sizeof(*fan->requests));
  if (!fan->requests) return UV_ENOMEM;
  for (size_t i = 0; i < fan->count; i++) {
    fan->requests[i].fan = fan;
    fan->requests[i].target = &options->targets.list[i];
  }
  snprintf(fan->deadline_text, sizeof(fan->deadline_text), "--timeout %llu ms is over",
           (unsigned long long)options->timeout_ms);
  snprintf(fan->request_text, sizeof(fan->request_text), "--per-request %llu ms is over",
           (unsigned long long)options->per_request_ms);
  snprintf(fan->enough_text, sizeof(fan->enough_text), "enough answers: --first %zu", options->first);
  int err = derive_run(fan, parent);
  if (!err) {
    uvf_ctx_set_name(fan->ctx, "run");
    err = uvf_ctx_on_done(fan->ctx, &fan->watch, on_run_done);
    if (err) uvf_ctx_release(fan->ctx);
  }
  if (err) {
    fan_free(fan);
    return err;
  }
  start_more(fan);
  return 0;
}

void fan_cancel(fan_t *fan, int cause, char *why) {
  if (fan->ctx) uvf_ctx_cancel_cause(fan->ctx, cause, why);
}

int fan_succeeded(const fan_t *fan) {
  size_t good = fan->outcomes[OUTCOME_OK] + fan->outcomes[OUTCOME_HEDGED];
  return good == fan->count || (fan->options->first && good >= fan->options->first);
}

void fan_free(fan_t *fan) {
  free(fan->requests);
  memset(fan, 0, sizeof(*fan));
}
