/* SPDX-License-Identifier: MIT
 *
 * Invariants
 *  1. At the limit of connections the next one stays with libuv, which reads no more from the listener until it was
 *     accepted. So no more descriptors are used than were planned for, but for that one.
 *  2. If there is no descriptor all the same, libuv closes new connections unseen, by means of one that it keeps for
 *     that. When it has lost that one it tries again for ever, inside one callback: then the listener is closed for a
 *     moment.
 */
#include "listener.h"

#include "conn.h"

enum { BACKLOG = 1024, PAUSE_MS = 100 };

static server_t *server_of(void *tcp) { return container_of(tcp, server_t, listener.tcp); }

/* --- letting in ---------------------------------------------------------------------------------------------- */

static int has_place(const server_t *server) { return server->drain.connections < server->options.max_conns; }

/* Takes a connection if there is a place for it, or makes one. */
static void take(server_t *server) {
  server->listener.pending = !has_place(server);
  if (server->listener.pending)
    conn_evict(server); /* comes back as listener_has_place */
  else if (conn_accept(server))
    server->counters.accept_errors++;
}

void listener_has_place(server_t *server) {
  if (server->listener.pending && server->listener.open) take(server);
}

/* --- opening, closing, and for a moment ---------------------------------------------------------------------- */

/* Called by libuv when the listener was closed for good. */
static void on_closed(uv_handle_t *handle) { server_part_ended(server_of(handle)); }

static void on_paused(uv_handle_t *handle);

/* Called by uvflow when the pause is over. */
static void on_pause_over(uvf_sleep_t *sleep, int status) {
  server_t *server = container_of(sleep, server_t, listener.pause);
  (void)status; /* the root is not closed before we have ended */
  if (!server->listener.open)
    server_part_ended(server);
  else if (listener_open(server))
    uvf_sleep_start(server->root, sleep, PAUSE_MS, on_pause_over); /* still no descriptor */
}

static void on_paused(uv_handle_t *handle) {
  server_t *server = server_of(handle);
  uvf_sleep_start(server->root, &server->listener.pause, PAUSE_MS, on_pause_over);
}

/* Called by libuv for a new connection. */
static void on_connection(uv_stream_t *tcp, int status) {
  server_t *server = server_of(tcp);
  if (!status) {
    take(server);
    return;
  }
  server->counters.accept_errors++;
  if ((status == UV_EMFILE || status == UV_ENFILE) && uvf_guard_stop(&server->listener.guard) == 0) {
    server->listener.pending = 0;
    uv_close(HANDLE(tcp), on_paused);
  }
}

static int listen_on(server_t *server) {
  const char *host = server->options.host;
  int port = server->port ? server->port : server->options.port; /* the same after a pause */
  uv_tcp_t *tcp = &server->listener.tcp;
  struct sockaddr_storage address = {0};
  int len = sizeof(address);
  int err = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
  if (err) err = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
  if (!err) err = uv_tcp_bind(tcp, (const struct sockaddr *)&address, 0);
  if (!err) err = uv_listen((uv_stream_t *)tcp, BACKLOG, on_connection);
  if (!err) err = uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &len);
  /* The port is at the same place in both kinds of address. */
  if (!err) server->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
  return err;
}

int listener_open(server_t *server) {
  listener_t *listener = &server->listener;
  int err = uv_tcp_init(server->h2o.loop, &listener->tcp);
  if (err) return err;
  err = listen_on(server);
  /* Bound to the root: the drain closes it, not the end of the service. */
  if (!err) err = uvf_guard_start(server->root, &listener->guard, HANDLE(&listener->tcp), on_closed);
  if (err)
    uv_close(HANDLE(&listener->tcp), NULL);
  else
    listener->open = 1;
  return err;
}

void listener_close(server_t *server) {
  server->listener.open = 0;
  if (server->listener.pending && has_place(server)) conn_accept(server);
  conn_accept_rest(server);
  uvf_guard_close(&server->listener.guard); /* UV_EBUSY: it is pausing, and sees that at its end */
}
