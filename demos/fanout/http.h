/* SPDX-License-Identifier: MIT
 *
 * HTTP on a libuv loop: libcurl's multi-socket interface under uvflow contexts.
 *
 * The parties: curl says which sockets it waits for and when it wants to be woken; libuv waits; uvflow says when a
 * transfer is to end early. A transfer ends exactly once, like every operation of uvflow: its callback comes on the
 * loop, never inside the call that started it.
 */
#ifndef FANOUT_HTTP_H
#define FANOUT_HTTP_H

#include <curl/curl.h>

#include "common.h"

/* One curl multi handle on one loop. Caller's memory; must stay until the root that `ctx` belongs to has

 * been closed. */
typedef struct http_s {
  uv_loop_t *loop;
  uvf_ctx_t *ctx; /* the poll and timer handles are bound to it */
  CURLM *multi;
  uv_timer_t timer;
  uvf_guard_t timer_guard;
  int in_timer; /* curl is being called by the timer's own callback */
  const char *no_proxy;
} http_t;

typedef struct http_get_s http_get_t;

/* status: 0 an answer came (whatever its HTTP status); the err of the context that ended it; or UV_EIO: it failed, see
 * `error`. */
typedef void (*http_done_cb)(http_get_t *get, int status);

/* One GET. Caller's memory, until its callback has been entered. */
struct http_get_s {
  void *data;
  /* read-only, in the callback */
  long http_status; /* 0: none came */
  uint64_t bytes;   /* of the body, read and thrown away */
  char error[CURL_ERROR_SIZE];
  /* private */
  http_t *http;
  CURL *easy;
  uvf_watch_t watch;
  http_done_cb cb;
};

/* ctx: what the handles are bound to. It has to outlive every transfer: the transfers run under contexts of

 * their own. */
int http_init(http_t *http, uvf_ctx_t *ctx, long max_connections);

/* 0, or UV_E* and the callback never comes. When ctx ends before the answer is complete the transfer is taken out of
 * curl and the callback gets the context's err; bytes says how far it had come. headers: lines to send, or NULL; the
 * caller's, until the callback. */
int http_get_start(http_t *http, uvf_ctx_t *ctx, http_get_t *get, const char *url, struct curl_slist *headers,
                   http_done_cb cb);

/* Once every transfer has ended. Not inside an http_done_cb: curl is still on the stack there. */
void http_close(http_t *http);

#endif
