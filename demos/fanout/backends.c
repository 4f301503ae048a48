/* SPDX-License-Identifier: MIT
 *
 * The servers: one h2o on one port of the loopback interface, with a path for each temper.
 *
 * An answer that takes time is a timer bound to the servers' context: when that ends the timers are closed, and the
 * close callback of each cuts its answer short, so that no connection is left hanging.
 *
 * h2o's libuv flavour keeps eight idle timers and one async handle, and closes them in h2o_context_dispose, which runs
 * the loop itself and so must be called outside it. They are unreferenced here: the connections hold the loop, h2o's
 * housekeeping does not.
 */
#include "backends.h"

#ifndef H2O_USE_LIBUV
#define H2O_USE_LIBUV 1
#endif
#include <h2o.h>
#include <stdlib.h>
#include <string.h>

enum { BACKLOG = 128, FOREVER = -1 };

/* What a path does. */
typedef struct temper_s {
  h2o_handler_t super;
  int status;
  int delay_ms; /* before each piece; FOREVER: nothing comes */
  int pieces;   /* FOREVER: they don't end */
} temper_t;

struct backends_s {
  uvf_ctx_t *ctx;
  uv_tcp_t listener;
  uvf_guard_t listener_guard;
  int port;
  uv_tcp_t silent; /* bound, not listening: connections to it are refused */
  uvf_guard_t silent_guard;
  int silent_port;
  h2o_globalconf_t config;
  h2o_context_t h2o;
  h2o_accept_ctx_t accept;
  int failed;
};

/* One answer under way. h2o owns the request, libuv the timer: the reply is freed when both have let go of it. */
typedef struct reply_s {
  h2o_generator_t generator;
  h2o_req_t *req;        /* NULL once h2o has let go */
  struct reply_s **slot; /* in the request's memory: how on_req_gone finds us */
  uv_timer_t timer;
  uvf_guard_t guard;
  const temper_t *temper;
  int closed;  /* libuv has let go of the timer */
  int sending; /* h2o has a piece of ours and must not be given another */
  int sent;
} reply_t;

static backends_t *backends_of(h2o_req_t *req) { return container_of(req->conn->ctx, backends_t, h2o); }

/* --- answers ------------------------------------------------------------------------------------------------- */

static const char PIECE[] = "a piece of the answer\n";

static void set_head(h2o_req_t *req, int status) {
  req->res.status = status;
  req->res.reason = status == 200 ? "OK" : status == 500 ? "Internal Server Error" : "Service Unavailable";
  h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, H2O_STRLIT("text/plain"));
}

/* Frees a reply, if it is over for libuv and for h2o. A request that h2o still waits for is answered as well as

 * may be. */
static void settle(reply_t *reply) {
  if (!reply->closed || (reply->req && reply->sending)) return; /* on_proceed or on_req_gone comes yet */
  h2o_req_t *req = reply->req;
  if (reply->slot) *reply->slot = NULL;
  if (req && reply->sent) {
    h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
  } else if (req) {
    req->http1_is_persistent = 0;
    set_head(req, 503);
    h2o_send_inline(req, H2O_STRLIT("stopping\n"));
  }
  free(reply);
}

/* Called by libuv, once, when the timer was closed: by on_req_gone, or by uvflow at the end of the servers' context. */
static void on_reply_closed(uv_handle_t *handle) {
  reply_t *reply = container_of(handle, reply_t, timer);
  reply->closed = 1;
  settle(reply);
}

/* Called by h2o when the request's memory goes: after its last byte, or because the client has gone. */
static void on_req_gone(void *slot) {
  reply_t *reply = *(reply_t **)slot;
  if (!reply) return;
  reply->req = NULL;
  reply->slot = NULL;
  if (reply->closed)
    settle(reply);
  else
    uvf_guard_close(&reply->guard); /* UV_EBUSY: the servers' context was first; on_reply_closed comes either way */
}

/* Called by libuv: it is time for the next piece. */
static void on_reply_timer(uv_timer_t *timer) {
  reply_t *reply = container_of(timer, reply_t, timer);
  if (!reply->req || uv_is_closing(HANDLE(timer))) return;
  h2o_iovec_t piece = h2o_iovec_init(H2O_STRLIT(PIECE));
  if (!reply->sent) {
    set_head(reply->req, reply->temper->status);
    h2o_start_response(reply->req, &reply->generator);
  }
  reply->sent++;
  reply->sending = 1;
  int last = reply->temper->pieces != FOREVER && reply->sent >= reply->temper->pieces;
  h2o_send(reply->req, &piece, 1, last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

/* Called by h2o when a piece has been sent: it may have the next one. */
static void on_proceed(h2o_generator_t *generator, h2o_req_t *req) {
  reply_t *reply = container_of(generator, reply_t, generator);
  (void)req;
  reply->sending = 0;
  if (reply->closed)
    settle(reply);
  else if (!uv_is_closing(HANDLE(&reply->timer)))
    uv_timer_start(&reply->timer, on_reply_timer, (uint64_t)reply->temper->delay_ms, 0);
}

/* Called by h2o for each request of a path that takes its time. */
static int on_slow_request(h2o_handler_t *handler, h2o_req_t *req) {
  const temper_t *temper = container_of(handler, temper_t, super);
  backends_t *backends = backends_of(req);
  reply_t *reply = calloc(1, sizeof(*reply));
  if (!reply) return -1; /* h2o answers 404 */
  reply->generator.proceed = on_proceed;
  reply->temper = temper;
  if (uv_timer_init(backends->h2o.loop, &reply->timer)) {
    free(reply);
    return -1;
  }
  if (uvf_guard_start(backends->ctx, &reply->guard, HANDLE(&reply->timer), on_reply_closed)) {
    uv_close(HANDLE(&reply->timer), on_reply_closed); /* with req still NULL: only frees */
    return -1;
  }
  reply->req = req;
  /* h2o disposes of what was taken from the request's memory when that goes. */
  reply->slot = h2o_mem_alloc_shared(&req->pool, sizeof(reply), on_req_gone);
  *reply->slot = reply;
  if (temper->delay_ms != FOREVER) uv_timer_start(&reply->timer, on_reply_timer, (uint64_t)temper->delay_ms, 0);
  return 0;
}

/* Called by h2o for each request of a path that answers at once. */
static int on_fast_request(h2o_handler_t *handler, h2o_req_t *req) {
  const temper_t *temper = container_of(handler, temper_t, super);
  set_head(req, temper->status);
  h2o_send_inline(req, H2O_STRLIT(PIECE));
  return 0;
}

/* --- connections --------------------------------------------------------------------------------------------- */

/* Called by libuv when a connection's handle was closed. */
static void on_conn_closed(uv_handle_t *handle) { free(handle); /* it was allocated alone */ }

/* Called by libuv for a new connection. */
static void on_conn(uv_stream_t *listener, int status) {
  backends_t *backends = container_of(listener, backends_t, listener);
  if (status) return;
  uv_tcp_t *conn = malloc(sizeof(*conn));
  if (!conn || uv_tcp_init(listener->loop, conn)) {
    free(conn);
    return;
  }
  if (uv_accept(listener, (uv_stream_t *)conn))
    uv_close(HANDLE(conn), on_conn_closed);
  else /* from here on h2o's, which closes it when the client does */
    h2o_accept(&backends->accept, h2o_uv_socket_create((uv_stream_t *)conn, on_conn_closed));
}

/* Takes a port of the loopback interface that the kernel chooses. However it fails, the end of the context closes the
 * handle. */
static int take_port(backends_t *backends, uv_tcp_t *tcp, uvf_guard_t *guard, int *port) {
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  int err = uv_ip4_addr("127.0.0.1", 0, &address);
  if (!err) err = uv_tcp_init(uvf_ctx_loop(backends->ctx), tcp);
  if (err) return err;
  err = uvf_guard_start(backends->ctx, guard, HANDLE(tcp), NULL);
  if (err) {
    uv_close(HANDLE(tcp), NULL);
    return err;
  }
  err = uv_tcp_bind(tcp, (const struct sockaddr *)&address, 0);
  if (!err) err = uv_tcp_getsockname(tcp, (struct sockaddr *)&bound, &len);
  if (!err) *port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
  return err;
}

/* --- start, stop --------------------------------------------------------------------------------------------- */

static const struct {
  const char *path;
  int status, delay_ms, pieces; /* delay 0: answers at once */
} TEMPERS[] = {
    {"/fast", 200, 0, 1}, {"/slow", 200, 120, 1},     {"/drip", 200, 12, 5},          {"/late", 200, 240, 1},
    {"/fail", 500, 0, 1}, {"/hang", 200, FOREVER, 1}, {"/endless", 200, 20, FOREVER},
};

/* What is asked of them: chosen, with the defaults of options.c, so that every outcome is seen. '!' is the port without
 * a server. */
static const char *const QUESTIONS[] = {"/fast",  "/slow",    "/hang",       "/drip", "/fail", "/hang|/fast",
                                        "!/gone", "/endless", "/fail|/slow", "/late", "/fast", "/hang"};

static void add_path(h2o_hostconf_t *host, size_t i) {
  h2o_pathconf_t *path = h2o_config_register_path(host, TEMPERS[i].path, 0);
  h2o_handler_t *handler = h2o_create_handler(path, sizeof(temper_t));
  temper_t *temper = container_of(handler, temper_t, super);
  handler->on_req = TEMPERS[i].delay_ms ? on_slow_request : on_fast_request;
  temper->status = TEMPERS[i].status;
  temper->delay_ms = TEMPERS[i].delay_ms;
  temper->pieces = TEMPERS[i].pieces;
}

/* Writes a question as URLs: "/a|/b" becomes "http://127.0.0.1:PORT/a|http://127.0.0.1:PORT/b". */
static int add_question(backends_t *backends, const char *question, targets_t *targets) {
  char urls[256];
  size_t len = 0;
  while (*question && len < sizeof(urls)) {
    int port = *question == '!' ? backends->silent_port : backends->port;
    question += *question == '!';
    int n = (int)strcspn(question, "|");
    len += (size_t)snprintf(urls + len, sizeof(urls) - len, "%shttp://127.0.0.1:%d%.*s", len ? "|" : "", port, n,
                            question);
    question += n;
    question += *question == '|';
  }
  return targets_add(targets, urls, "own server") ? UV_EINVAL : 0;
}

/* Called for each handle that is on the loop when h2o has made its own. */
static void unref_foreign(uv_handle_t *handle, void *unused) {
  (void)unused;
  if (!uvf_owns_handle(handle)) uv_unref(handle);
}

static void start_h2o(backends_t *backends) {
  h2o_config_init(&backends->config);
  h2o_hostconf_t *host = h2o_config_register_host(&backends->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
  for (size_t i = 0; i < sizeof(TEMPERS) / sizeof(TEMPERS[0]); i++) add_path(host, i);
  h2o_context_init(&backends->h2o, uvf_ctx_loop(backends->ctx), &backends->config);
  backends->accept.ctx = &backends->h2o;
  backends->accept.hosts = backends->config.hosts;
  uv_walk(backends->h2o.loop, unref_foreign, NULL);
}

backends_t *backends_start(uvf_ctx_t *parent, targets_t *targets) {
  backends_t *backends = calloc(1, sizeof(*backends));
  if (!backends) {
    complain("servers", UV_ENOMEM);
    return NULL;
  }
  int err = uvf_ctx_with_cancel(parent, &backends->ctx);
  if (err) {
    complain("servers", err);
    free(backends);
    return NULL;
  }
  uvf_ctx_set_name(backends->ctx, "backends");
  start_h2o(backends);
  err = take_port(backends, &backends->listener, &backends->listener_guard, &backends->port);
  if (!err) err = uv_listen((uv_stream_t *)&backends->listener, BACKLOG, on_conn);
  if (!err) err = take_port(backends, &backends->silent, &backends->silent_guard, &backends->silent_port);
  for (size_t i = 0; !err && i < sizeof(QUESTIONS) / sizeof(QUESTIONS[0]); i++)
    err = add_question(backends, QUESTIONS[i], targets);
  if (err) complain("servers on 127.0.0.1", err);
  backends->failed = err != 0;
  return backends;
}

int backends_failed(const backends_t *backends) { return !backends || backends->failed; }

void backends_stop(backends_t *backends) {
  if (!backends) return;
  /* Closes the listener, and every answer's timer, whose close callback ends the answer. */
  uvf_ctx_cancel(backends->ctx);
  uvf_ctx_release(backends->ctx);
  backends->ctx = NULL;
}

void backends_free(backends_t *backends) {
  if (!backends) return;
  h2o_context_dispose(&backends->h2o);
  h2o_config_dispose(&backends->config);
  free(backends);
}
