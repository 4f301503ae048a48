/* SPDX-License-Identifier: MIT
 *
 * Invariants
 *  1. A request is answered once: by request_answer, or, when h2o disposes of it without an answer, by nobody, which is
 *     counted as 499. So begun = answered + in flight.
 *  2. What runs for it (a task) has memory of its own, and its callback comes, once, after whatever ended it. Of the
 *     two, request and task, whoever goes first tells the other: so a task that is late finds no request, and never a
 *     stale one.
 *  3. A request ends early by the end of its context alone: a deadline, a client that leaves, the drain. Its task then
 *     ends, and answers with the status that fits. Nothing here closes or cancels in any other way.
 */
#include "request.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "head.h"

const char TYPE_TEXT[] = "text/plain; charset=utf-8";

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static const char *reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 499: return "Client Closed Request";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Internal Server Error";
  }
}

/* --- answers ------------------------------------------------------------------------------------------------- */

/* Nothing runs for it any more, and its context has done its work. */
static void settle(request_t *request, int status) {
  request->status = status;
  counters_answer(&request->server->counters, status);
  if (request->server->options.on_answer) request->server->options.on_answer(request->server, request->began_ns);
  uvf_drain_request_end(&request->entry); /* says no if it was never in the ledger */
  uvf_ctx_release(request->ctx);
  request->ctx = NULL;
}

void request_answer(request_t *request, int status, const char *type, const char *body, size_t len) {
  h2o_req_t *req = request->req;
  conn_request_answered(request->conn);
  settle(request, status);
  /* h2o asks for that by itself of requests that came after it had been told; of earlier ones we do. */
  if (status == 499 || !uvf_drain_is_ready(&request->server->drain)) req->http1_is_persistent = 0;
  req->res.status = status;
  req->res.reason = reason_of(status);
  req->res.content_length = len;
  h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type, strlen(type));
  if (status == 503)
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("retry-after"), 0, NULL, H2O_STRLIT("1"));
  conn_t *conn = request->conn;
  h2o_send_inline(req, body, len);
  conn_settle_write(conn); /* the request may be gone */
}

void request_answer_text(request_t *request, int status, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  request_answer(request, status, TYPE_TEXT, text, len < 0 ? 0 : least((size_t)len, sizeof(text) - 1));
}

void request_fail(request_t *request, int err) {
  int status = uvf_http_status(err, uvf_ctx_cause(request->ctx, NULL));
  const char *text = status == 504   ? "deadline"
                     : status == 503 ? "draining"
                     : status == 499 ? "client closed request"
                                     : uv_strerror(err);
  request_answer_text(request, status, "%s\n", text);
}

/* --- the beginning ------------------------------------------------------------------------------------------- */

/* The end of it: its answer is on the way, or its client is gone. */
static void let_go(request_t *request) {
  if (!request->status) {
    uvf_ctx_cancel_cause(request->ctx, UVF_CAUSE_CLIENT_LEFT, NULL);
    settle(request, 499);
  }
  if (request->task) request->task->request = NULL;
  conn_request_over(request->conn);
}

/* Called by h2o when it lets go of the request: its answer has been sent, or its client is gone. */
static void on_gone(void *hook) { let_go(*(request_t **)hook); }

/* Whoever is to learn when h2o lets go takes something from its memory that has a function: h2o calls that as it clears
 * the request's pool, while the rest of the pool is still there. */
static void hook_on(request_t *request) {
  request_t **hook = h2o_mem_alloc_shared(&request->req->pool, sizeof(*hook), on_gone);
  *hook = request;
}

/* When its first byte came. h2o keeps the time of day, and looks at it once in a turn of the loop. */
static uint64_t arrived_ns(const h2o_req_t *req, uint64_t now_ns) {
  const struct timeval *from = &req->timestamps.request_begin_at, *to = &req->processed_at.at;
  int64_t us = (to->tv_sec - from->tv_sec) * INT64_C(1000000) + (to->tv_usec - from->tv_usec);
  uint64_t ago_ns = from->tv_sec && us > 0 ? (uint64_t)us * 1000 : 0;
  return ago_ns < now_ns ? now_ns - ago_ns : now_ns;
}

/* Gives it its context: what its client grants, at most what we do, less what it takes to answer. */
static int derive(request_t *request, uint64_t timeout_ns) {
  const server_options_t *options = &request->server->options;
  uint64_t budget_ns = uvf_budget_ns(timeout_ns, options->max_ms * MS_NS, options->margin_ms * MS_NS);
  uint64_t deadline_ns = uvf_budget_deadline_ns(arrived_ns(request->req, request->began_ns), budget_ns);
  int err = uvf_ctx_with_deadline(request->conn->ctx, deadline_ns, &request->ctx);
  if (!err) uvf_ctx_set_name(request->ctx, request->route->path);
  return err;
}

static void start(request_t *request) {
  head_t head;
  if (head_read_timeout(request->req, &head)) {
    int shown = (int)least(head.wrong->value.len, 64);
    request_answer_text(request, 400, "%.*s: '%.*s' %s\n", (int)head.wrong->name->len, head.wrong->name->base, shown,
                        head.wrong->value.base, head.wrong_because);
    return;
  }
  int err = derive(request, head.timeout_ns);
  if (!err)
    err = uvf_drain_request_begin(&request->server->drain, &request->entry, &request->conn->entry, request->ctx);
  if (err) {
    request_answer_text(request, 503, "%s\n", err == UV_ESHUTDOWN ? "draining" : "overloaded");
    return;
  }
  err = uvf_ctx_err(request->ctx);
  if (err) /* born over: there is no time left, or the connection is being closed */
    request_fail(request, err);
  else
    request->route->start(request);
  if (!request->status) conn_watch(request->conn, request);
}

/* The route of a path, and 0; or the status to refuse it with. */
static int find_route(request_t *request) {
  const h2o_req_t *req = request->req;
  const h2o_iovec_t *path = &req->path_normalized, *method = &req->method;
  int bit = h2o_memis(method->base, method->len, H2O_STRLIT("GET")) ||
                    h2o_memis(method->base, method->len, H2O_STRLIT("HEAD"))
                ? METHOD_GET
            : h2o_memis(method->base, method->len, H2O_STRLIT("POST")) ? METHOD_POST
                                                                       : 0;
  for (const route_t *route = request->server->options.routes; route->path; route++) {
    if (!h2o_memis(path->base, path->len, route->path, strlen(route->path))) continue;
    request->route = route;
    return route->methods & bit ? 0 : 405;
  }
  return 404;
}

static void refuse(request_t *request, int status) {
  if (status == 404) {
    request_answer_text(request, 404, "no such path\n");
    return;
  }
  h2o_req_t *req = request->req;
  const char *allow = request->route->methods & METHOD_POST ? "GET, HEAD, POST" : "GET, HEAD";
  h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("allow"), 0, NULL, allow, strlen(allow));
  request_answer_text(request, 405, "allowed: %s\n", allow);
}

int request_on_req(server_t *server, h2o_req_t *req) {
  request_t *request = h2o_mem_alloc_pool(&req->pool, sizeof(*request));
  memset(request, 0, sizeof(*request));
  request->req = req;
  request->server = server;
  request->conn = conn_of(req);
  request->began_ns = uv_hrtime();
  server->counters.begun++;
  conn_request_begun(request->conn, req);
  int status = find_route(request);
  if (status)
    refuse(request, status);
  else
    start(request);
  /* An answer of HTTP/1 is being written by now, and nothing that we do to the connection stops that. In HTTP/2 it
   * still waits for its turn. */
  if (request->status && req->version < 0x200)
    let_go(request);
  else
    hook_on(request);
  return 0; /* it is ours, whatever becomes of it */
}

/* --- for those who work on it -------------------------------------------------------------------------------- */

void *request_task(request_t *request, size_t size) {
  task_t *task = calloc(1, size);
  if (!task) {
    request_answer_text(request, 503, "out of memory\n");
    return NULL;
  }
  task->request = request;
  request->task = task;
  return task;
}

request_t *request_task_over(task_t *task) {
  request_t *request = task->request;
  if (request) request->task = NULL;
  task->request = NULL;
  return request;
}

int request_number(request_t *request, const char *name, uint64_t min, uint64_t max, uint64_t *number) {
  const h2o_req_t *req = request->req;
  if (req->query_at == SIZE_MAX) return 0;
  const char *at = req->path.base + req->query_at + 1, *end = req->path.base + req->path.len;
  size_t name_len = strlen(name);
  while (at < end) {
    const char *next = memchr(at, '&', (size_t)(end - at));
    if (!next) next = end;
    if ((size_t)(next - at) > name_len && memcmp(at, name, name_len) == 0 && at[name_len] == '=') {
      const char *text = at + name_len + 1;
      size_t value = next > text ? h2o_strtosize(text, (size_t)(next - text)) : SIZE_MAX;
      if (value != SIZE_MAX && value >= min && value <= max) {
        *number = value;
        return 0;
      }
      request_answer_text(request, 400, "%s: '%.*s' is not a number from %llu to %llu\n", name,
                          (int)least((size_t)(next - text), 64), text, (unsigned long long)min,
                          (unsigned long long)max);
      return -1;
    }
    at = next < end ? next + 1 : end;
  }
  return 0;
}
