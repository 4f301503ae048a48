/* SPDX-License-Identifier: MIT
 *
 * /fan: asks several backends at once, under the deadline of the request, and tells them how much of it is left.
 *
 *   request        its deadline; the end of it ends all that is below
 *     trace        the same with the request's trace
 *       transfers  one for each backend
 */
#include "fan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../fanout/headers.h"
#include "gateway.h"
#include "head.h"
#include "routes.h"

enum { HTTP_OK_FROM = 200, HTTP_FAILS_FROM = 400, HTTP_TIMED_OUT = 504, MOST_MS = 600000, URL_SIZE = 2048 };

typedef struct call_s {
  http_get_t get;
  struct fan_s *fan;
  struct curl_slist *headers;
  const char *url;
  uint64_t began_ns, ended_ns;
  int status; /* 0: an answer came, whatever its HTTP status */
} call_t;

/* One /fan. Freed when its last transfer has ended. */
typedef struct fan_s {
  task_t task;
  uvf_ctx_t *ctx;
  uvf_waitgroup_t *all;
  uint64_t began_ns;
  size_t count, running, succeeded, timed_out;
  call_t calls[];
} fan_t;

/* --- what is answered ---------------------------------------------------------------------------------------- */

static void print_string(FILE *out, const char *text) {
  putc('"', out);
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      fprintf(out, "\\%c", c);
    else if (c < 0x20 || c >= 0x7f)
      fprintf(out, "\\u%04x", c);
    else
      putc(c, out);
  }
  putc('"', out);
}

static double ms_between(uint64_t from_ns, uint64_t to_ns) { return (double)(to_ns - from_ns) / (double)MS_NS; }

static const char *why(const call_t *call) {
  if (call->status == UV_EIO) return call->get.error; /* curl's words */
  if (call->status == UV_ETIMEDOUT) return "deadline";
  if (call->status) return uv_strerror(call->status);
  return call->get.http_status >= HTTP_FAILS_FROM ? "an HTTP error" : NULL;
}

static void print_fan(const fan_t *fan, FILE *out) {
  fputs("{\"backends\":[", out);
  for (size_t i = 0; i < fan->count; i++) {
    const call_t *call = &fan->calls[i];
    fputs(i ? ",\n{\"url\":" : "\n{\"url\":", out);
    print_string(out, call->url);
    fprintf(out, ",\"status\":%ld,\"bytes\":%" PRIu64 ",\"error\":", call->get.http_status, call->get.bytes);
    if (why(call))
      print_string(out, why(call));
    else
      fputs("null", out);
    fprintf(out, ",\"ms\":%.3f}", ms_between(call->began_ns, call->ended_ns));
  }
  fprintf(out, "],\n\"ok\":%zu,\"ms\":%.3f}\n", fan->succeeded, ms_between(fan->began_ns, uv_hrtime()));
}

/* The deadline came, here or, by our leave, at the backends; or somebody has answered; or nobody. */
static int status_of(const fan_t *fan) {
  int err = uvf_ctx_err(fan->ctx);
  if (err) return uvf_http_status(err, uvf_ctx_cause(fan->ctx, NULL));
  if (fan->succeeded) return 200;
  return fan->timed_out ? 504 : 502;
}

static void answer(const fan_t *fan, request_t *request) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  if (out) {
    print_fan(fan, out);
    if (fclose(out) == 0) {
      request_answer(request, status_of(fan), "application/json", text, len);
      free(text);
      return;
    }
  }
  free(text);
  request_answer_text(request, 503, "out of memory\n");
}

/* --- transfers ----------------------------------------------------------------------------------------------- */

/* One of those that run has ended; the last one answers. */
static void let_go(fan_t *fan) {
  if (--fan->running) return;
  request_t *request = request_task_over(&fan->task);
  if (request) answer(fan, request);
  uvf_waitgroup_done(fan->all);
  uvf_ctx_release(fan->ctx);
  free(fan);
}

static void call_ended(call_t *call, int status) {
  fan_t *fan = call->fan;
  call->ended_ns = uv_hrtime();
  call->status = status;
  long http = status ? 0 : call->get.http_status;
  if (http >= HTTP_OK_FROM && http < HTTP_FAILS_FROM) fan->succeeded++;
  if (status == UV_ETIMEDOUT || http == HTTP_TIMED_OUT) fan->timed_out++;
  curl_slist_free_all(call->headers);
  call->headers = NULL;
  let_go(fan);
}

/* Called by http.c when there is an answer, or none will come any more. */
static void on_got(http_get_t *get, int status) { call_ended(container_of(get, call_t, get), status); }

static int start_call(call_t *call, http_t *http, uint64_t ms, const char *baggage) {
  char url[URL_SIZE];
  int len = ms == UINT64_MAX
                ? snprintf(url, sizeof(url), "%s", call->url)
                : snprintf(url, sizeof(url), "%s%cms=%" PRIu64, call->url, strchr(call->url, '?') ? '&' : '?', ms);
  if (len >= (int)sizeof(url)) return UV_ENAMETOOLONG;
  call->began_ns = uv_hrtime();
  /* What is left of the deadline, the trace with a span for this call, and the baggage. */
  int err = headers_for(call->fan->ctx, &call->headers);
  if (!err && *baggage) err = headers_add(&call->headers, baggage);
  if (!err) err = http_get_start(http, call->fan->ctx, &call->get, url, call->headers, on_got);
  return err;
}

/* --- the request --------------------------------------------------------------------------------------------- */

static fan_t *make(request_t *request, size_t n) {
  uvf_trace_t trace;
  fan_t *fan = request_task(request, sizeof(*fan) + n * sizeof(call_t));
  if (!fan) return NULL;
  fan->all = &request->server->gateway->backends.fans;
  fan->count = n;
  fan->began_ns = uv_hrtime();
  int err = head_read_trace(request->req, &trace);
  if (!err) err = uvf_ctx_with_trace(request->ctx, &trace, &fan->ctx);
  if (!err) return fan;
  request_task_over(&fan->task);
  free(fan);
  request_fail(request, err);
  return NULL;
}

void fan_start(request_t *request) {
  backends_t *backends = &request->server->gateway->backends;
  uint64_t n = backends->count, ms = UINT64_MAX;
  if (request_number(request, "n", 1, MOST_BACKENDS, &n) || request_number(request, "ms", 0, MOST_MS, &ms)) return;
  if (!backends->count) {
    request_answer_text(request, 502, "there are no backends\n");
    return;
  }
  fan_t *fan = make(request, n);
  if (!fan) return;
  char baggage[sizeof("baggage: ") + UVF_BAGGAGE_MAX];
  head_copy_baggage(request->req, baggage, sizeof(baggage));
  uvf_waitgroup_add(fan->all, 1);
  fan->running = n + 1; /* and this function: transfers that cannot start end inside it */
  for (size_t i = 0; i < n; i++) {
    call_t *call = &fan->calls[i];
    call->fan = fan;
    call->url = backends->urls[i % backends->count];
    int err = start_call(call, &backends->http, ms, baggage);
    if (err) call_ended(call, err);
  }
  let_go(fan);
}
