/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <stdlib.h>
#include <string.h>

/* A socket that curl waits for. Its memory is libuv's until on_socket_closed. */
typedef struct http_socket_s {
  uv_poll_t poll;
  uvf_guard_t guard;
  curl_socket_t fd;
  http_t *http;
} http_socket_t;

static const char *const USER_AGENT = "uvflow-demo/" UVF_VERSION_STRING;

/* --- ends of transfers --------------------------------------------------------------------------------------- */

/* Takes a transfer out of curl. Never called by a callback of curl's: it must not lose a handle that it is

 * working on. */
static void take_out(http_get_t *get) {
  curl_multi_remove_handle(get->http->multi, get->easy);
  curl_easy_cleanup(get->easy);
  get->easy = NULL;
}

/* Called by uvflow, on the loop, when the context of a transfer ended first: a deadline, a cancel, a closed root. */
static void on_ctx_done(uvf_watch_t *watch, int status) {
  http_get_t *get = container_of(watch, http_get_t, watch);
  curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &get->http_status);
  take_out(get);
  get->cb(get, status);
}

/* The reason of a failure in a few words. */
static void explain(http_get_t *get, CURLcode result) {
  long number = 0;
  curl_easy_getinfo(get->easy, CURLINFO_OS_ERRNO, &number);
  if (result == CURLE_COULDNT_CONNECT && number)
    snprintf(get->error, sizeof(get->error), "%s", uv_strerror(uv_translate_sys_error((int)number)));
  else if (!get->error[0])
    snprintf(get->error, sizeof(get->error), "%s", curl_easy_strerror(result));
}

static void finish(http_get_t *get, CURLcode result) {
  curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &get->http_status);
  if (result != CURLE_OK) explain(get, result);
  /* The context may have ended in this very turn of the loop. Then it is the reason, and the watcher has not told us
   * yet. */
  int status = uvf_ctx_err(get->watch.ctx);
  if (!status && result != CURLE_OK) status = UV_EIO;
  uvf_watch_stop(&get->watch);
  take_out(get);
  get->cb(get, status);
}

/* Must run after every curl_multi_socket_action, also when no transfer is left running: curl hands out its results
 * nowhere else. */
static void collect(http_t *http) {
  CURLMsg *msg;
  int left;
  while ((msg = curl_multi_info_read(http->multi, &left))) {
    if (msg->msg != CURLMSG_DONE) continue;
    CURLcode result = msg->data.result; /* msg is gone once the handle is */
    char *private = NULL;
    curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
    finish((http_get_t *)(void *)private, result);
  }
}

/* Tells curl what happened, and hears which transfers that has ended. */
static void act(http_t *http, curl_socket_t fd, int flags) {
  int running;
  CURLMcode code = curl_multi_socket_action(http->multi, fd, flags, &running);
  /* Of a transfer's own failure curl tells through the results; this one is about the whole. */
  if (code != CURLM_OK) fprintf(stderr, "curl_multi_socket_action: %s\n", curl_multi_strerror(code));
  collect(http);
}

/* --- curl's sockets, watched by libuv ------------------------------------------------------------------------ */

/* Called by libuv when a socket's poll handle is closed: only now is the memory ours again. */
static void on_socket_closed(uv_handle_t *handle) { free(container_of(handle, http_socket_t, poll)); }

/* Called by libuv when a socket is ready. */
static void on_socket_ready(uv_poll_t *poll, int status, int events) {
  http_socket_t *s = container_of(poll, http_socket_t, poll);
  int flags = 0;
  /* An error of the socket: curl looks at it itself, and finds the reason. */
  if (status < 0) flags = CURL_CSELECT_ERR | CURL_CSELECT_IN | CURL_CSELECT_OUT;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  act(s->http, s->fd, flags); /* s may be closing afterwards */
}

static http_socket_t *open_socket(http_t *http, curl_socket_t fd) {
  http_socket_t *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  s->fd = fd;
  s->http = http;
  if (uv_poll_init_socket(http->loop, &s->poll, fd)) {
    free(s);
    return NULL;
  }
  if (uvf_guard_start(http->ctx, &s->guard, HANDLE(&s->poll), on_socket_closed)) {
    uv_close(HANDLE(&s->poll), on_socket_closed);
    return NULL;
  }
  return s;
}

static void close_socket(http_socket_t *s) {
  /* curl closes the descriptor as soon as we return, and the next socket may get the same number: libuv must have let
   * go of it by then. uv_close alone would do it, but only poll_stop says so. */
  uv_poll_stop(&s->poll);
  /* UV_EBUSY: the context has ended and closed it; on_socket_closed comes once, either way. */
  uvf_guard_close(&s->guard);
}

/* Called by curl, inside the curl functions that we call, when it begins, changes or ends its wait for a socket. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket) {
  http_t *http = user;
  http_socket_t *s = socket;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (s) close_socket(s);
    curl_multi_assign(http->multi, fd, NULL);
    return 0;
  }
  if (!s) {
    if (!(s = open_socket(http, fd))) return -1; /* curl fails the transfers */
    if (curl_multi_assign(http->multi, fd, s) != CURLM_OK) {
      close_socket(s);
      return -1;
    }
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&s->poll, events, on_socket_ready) ? -1 : 0;
}

/* --- curl's one timer ---------------------------------------------------------------------------------------- */

/* Called by libuv when the time has come that curl asked for. */
static void on_timer(uv_timer_t *timer) {
  http_t *http = container_of(timer, http_t, timer);
  http->in_timer = 1;
  act(http, CURL_SOCKET_TIMEOUT, 0);
  http->in_timer = 0;
}

/* Called by curl, inside the curl functions that we call: "wake me in so many ms", 0 meaning at once but not in here,
 * -1 not at all. */
static int on_curl_timer(CURLM *multi, long timeout_ms, void *user) {
  http_t *http = user;
  (void)multi;
  if (timeout_ms < 0) return uv_timer_stop(&http->timer) ? -1 : 0;
  /* A timer of 0 ms that is started again in its own callback would starve the loop before libuv 1.48. */
  if (timeout_ms == 0 && http->in_timer) timeout_ms = 1;
  return uv_timer_start(&http->timer, on_timer, (uint64_t)timeout_ms, 0) ? -1 : 0;
}

/* --- starting ------------------------------------------------------------------------------------------------ */

/* Called by curl with a piece of the body. */
static size_t on_body(char *data, size_t size, size_t n, void *user) {
  http_get_t *get = user;
  (void)data;
  get->bytes += size * n;
  return size * n;
}

/* The options that can fail only for want of memory or on a curl that was built without HTTP. */
static CURLcode set_up(http_get_t *get, const char *url, struct curl_slist *headers) {
  CURL *easy = get->easy;
  CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, url);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)get);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, get->error);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
  if (!code && headers) code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L); /* no SIGALRM for slow name servers */
  if (!code && get->http->no_proxy) code = curl_easy_setopt(easy, CURLOPT_NOPROXY, get->http->no_proxy);
#if LIBCURL_VERSION_NUM >= 0x075500
  if (!code) code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  if (!code) code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  /* Without it, taking out a transfer whose name is being looked up blocks the loop until the name server
   * has answered. */
  if (!code) code = curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  return code;
}

int http_get_start(http_t *http, uvf_ctx_t *ctx, http_get_t *get, const char *url, struct curl_slist *headers,
                   http_done_cb cb) {
  get->http = http;
  get->cb = cb;
  get->http_status = 0;
  get->bytes = 0;
  get->error[0] = '\0';
  get->easy = curl_easy_init();
  if (!get->easy) return UV_ENOMEM;
  int err = set_up(get, url, headers) == CURLE_OK ? 0 : UV_ENOMEM;
  if (!err) err = uvf_ctx_on_done(ctx, &get->watch, on_ctx_done);
  if (!err) {
    /* Opens nothing yet: curl asks for its timer and begins when that fires. */
    if (curl_multi_add_handle(http->multi, get->easy) == CURLM_OK) return 0;
    uvf_watch_stop(&get->watch);
    err = UV_ENOMEM;
  }
  curl_easy_cleanup(get->easy);
  get->easy = NULL;
  return err;
}

int http_init(http_t *http, uvf_ctx_t *ctx, long max_connections) {
  memset(http, 0, sizeof(*http));
  http->ctx = ctx;
  http->loop = uvf_ctx_loop(ctx);
  http->multi = curl_multi_init();
  if (!http->multi) return UV_ENOMEM;
  CURLMcode code = curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
  if (!code) code = curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
  if (!code) code = curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
  if (!code) code = curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
  /* The idle connections that are kept for reuse count too: the oldest is closed when there are more. */
  if (!code) code = curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, max_connections);
  int err = code ? UV_ENOSYS : uv_timer_init(http->loop, &http->timer);
  if (!err) {
    err = uvf_guard_start(ctx, &http->timer_guard, HANDLE(&http->timer), NULL);
    if (!err) return 0;
    uv_close(HANDLE(&http->timer), NULL);
  }
  curl_multi_cleanup(http->multi);
  return err;
}

void http_close(http_t *http) {
  curl_multi_cleanup(http->multi); /* may still call on_curl_socket and on_curl_timer: the handles go afterwards */
  http->multi = NULL;
  uvf_guard_close(&http->timer_guard);
}
