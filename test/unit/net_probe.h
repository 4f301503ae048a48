/* SPDX-License-Identifier: MIT
 *
 * Addresses of this machine, for the tests of io: one that answers, one that refuses, and one that never answers: it
 * listens, but its queue of connections is full and nobody takes any. They live on a loop of their own, which runs only
 * where a test says so: the system completes connections by itself.
 */
#ifndef UVFLOW_TEST_NET_PROBE_H
#define UVFLOW_TEST_NET_PROBE_H

#include "io/io.h"
#include "unit/io_probe.h"

#define FILLERS 8
#define LIST_MAX 8

typedef struct net_s {
  uv_loop_t loop;
  uv_loop_t still; /* of the full one: never run, since libuv takes a connection as soon as it sees one */
  uv_tcp_t good, full, refusing;
  struct sockaddr_in good_addr, full_addr, refusing_addr;
  uv_tcp_t fillers[FILLERS];
  uv_connect_t filling[FILLERS];
  int filled;
  int accepted, ended; /* connections that the good one took, and of these, those that the other side has ended */
} net_t;

static net_t net;

static inline void net_pause(uint64_t ms) {
  uint64_t end_ns = uv_hrtime() + ms * MS_NS;
  do uv_run(&net.loop, UV_RUN_NOWAIT);
  while (uv_hrtime() < end_ns);
}

static inline void net_freed(uv_handle_t *peer) { free(peer); }

static inline void net_alloc(uv_handle_t *peer, size_t suggested, uv_buf_t *buf) {
  static char bytes[256];
  (void)peer;
  (void)suggested;
  *buf = uv_buf_init(bytes, sizeof bytes);
}

static inline void net_read(uv_stream_t *peer, ssize_t nread, const uv_buf_t *buf) {
  (void)buf;
  if (nread >= 0) return;
  net.ended++;
  uv_close((uv_handle_t *)peer, net_freed);
}

static inline void net_accept(uv_stream_t *server, int status) {
  uv_tcp_t *peer = malloc(sizeof *peer);
  if (status != 0 || peer == NULL) abort();
  if (uv_tcp_init(&net.loop, peer) != 0 || uv_accept(server, (uv_stream_t *)peer) != 0) abort();
  net.accepted++;
  if (uv_read_start((uv_stream_t *)peer, net_alloc, net_read) != 0) abort();
}

static inline void net_never(uv_stream_t *server, int status) {
  (void)server;
  (void)status;
}

static inline void net_filled(uv_connect_t *req, int status) {
  (void)req;
  net.filled += status == 0;
}

static inline void net_bind(uv_loop_t *loop, uv_tcp_t *tcp, struct sockaddr_in *addr) {
  int len = sizeof *addr;
  if (uv_ip4_addr("127.0.0.1", 0, addr) != 0 || uv_tcp_init(loop, tcp) != 0) abort();
  if (uv_tcp_bind(tcp, (struct sockaddr *)addr, 0) != 0) abort();
  if (uv_tcp_getsockname(tcp, (struct sockaddr *)addr, &len) != 0) abort();
}

/* Until no further connection has been let in for a while. */
static inline void net_fill(void) {
  int before;
  for (int i = 0; i < FILLERS; i++) {
    if (uv_tcp_init(&net.loop, &net.fillers[i]) != 0) abort();
    if (uv_tcp_connect(&net.filling[i], &net.fillers[i], (struct sockaddr *)&net.full_addr, net_filled) != 0) abort();
  }
  do {
    before = net.filled;
    net_pause(20);
  } while (net.filled == 0 || net.filled != before);
  if (net.filled == FILLERS) abort(); /* it takes everything */
}

/* In main, before and after the tests. */
static inline void net_open(void) {
  if (uv_loop_init(&net.loop) != 0 || uv_loop_init(&net.still) != 0) abort();
  net_bind(&net.loop, &net.good, &net.good_addr);
  net_bind(&net.still, &net.full, &net.full_addr);
  net_bind(&net.loop, &net.refusing, &net.refusing_addr); /* bound, so that nobody gets its port, and not listening */
  if (uv_listen((uv_stream_t *)&net.full, 1, net_never) != 0) abort();
  if (uv_listen((uv_stream_t *)&net.good, 128, net_accept) != 0) abort();
  net_fill();
}

static inline void net_close(void) {
  uv_close((uv_handle_t *)&net.good, NULL);
  uv_close((uv_handle_t *)&net.full, NULL);
  uv_close((uv_handle_t *)&net.refusing, NULL);
  for (int i = 0; i < FILLERS; i++) uv_close((uv_handle_t *)&net.fillers[i], NULL);
  uv_run(&net.loop, UV_RUN_DEFAULT);
  uv_run(&net.still, UV_RUN_DEFAULT);
  if (uv_loop_close(&net.loop) != 0 || uv_loop_close(&net.still) != 0) abort();
}

/* Until that many connections have been taken since the program began: then the other side's system has them, too. */
static inline int net_await(const int *count, int wanted) {
  for (int ms = 0; *count < wanted && ms < PATIENCE_MS; ms++) {
    uv_run(&net.loop, UV_RUN_NOWAIT);
    if (*count < wanted) uv_sleep(1);
  }
  return *count >= wanted;
}

/* The first stream of a loop opens a descriptor for good: before a test counts them. */
static inline int net_setup(void **state) {
  uv_tcp_t first;
  if (io_setup(state) != 0 || uv_tcp_init(&io.f->loop, &first) != 0) return -1;
  uv_close((uv_handle_t *)&first, NULL);
  turn(&io.f->loop);
  return 0;
}

/* Every connection that was made has been ended, and no descriptor is left. */
static inline int net_teardown(void **state) {
  fixture_t *f = *state;
  test_alloc_fail_at(0);
  libuv_fail_at(0);
  if (f->root != NULL) fixture_close_root(f);
  uv_run(&f->loop, UV_RUN_NOWAIT);
  for (int i = 0; i < 3; i++) uv_run(&net.loop, UV_RUN_NOWAIT);
  io_expect(net_await(&net.ended, net.accepted), "a connection was left open");
  for (int i = 0; i < 3; i++) uv_run(&net.loop, UV_RUN_NOWAIT);
  return io_teardown(state);
}

#define unit_net(f) cmocka_unit_test_setup_teardown(f, net_setup, net_teardown)

/* --- lists of addresses --- */

typedef struct list_s {
  struct addrinfo info[LIST_MAX];
  struct sockaddr_in addr[LIST_MAX];
} list_t;

static inline const struct sockaddr_in *net_addr(char what) {
  switch (what) {
    case 'r': return &net.refusing_addr;
    case 'h': return &net.full_addr;
    default: return &net.good_addr;
  }
}

/* One address a letter: r refuses, h hangs, g is good, u is of a family nobody knows. */
static inline struct addrinfo *list_of(list_t *list, const char *letters) {
  size_t n = strlen(letters);
  assert_true(n > 0 && n <= LIST_MAX);
  memset(list, 0, sizeof *list);
  for (size_t i = 0; i < n; i++) {
    list->addr[i] = *net_addr(letters[i]);
    list->info[i].ai_family = letters[i] == 'u' ? 200 : AF_INET;
    list->info[i].ai_socktype = SOCK_STREAM;
    list->info[i].ai_addrlen = sizeof list->addr[i];
    list->info[i].ai_addr = (struct sockaddr *)&list->addr[i];
    list->info[i].ai_next = i + 1 < n ? &list->info[i + 1] : NULL;
  }
  return &list->info[0];
}

/* --- a request and its handle in one block --- */

typedef struct conn_s {
  uvf_connect_t req; /* the first member: a tally's request */
  uv_tcp_t tcp;
} conn_t;

static inline conn_t *conn_of(const tally_t *t) { return t->req; }
static inline uv_handle_t *conn_handle(const tally_t *t) { return (uv_handle_t *)&conn_of(t)->tcp; }
static inline void conn_done(uvf_connect_t *req, int status) { tally_done(req->data, status); }
static inline void conn_release(uvf_connect_t *req) { tally_release(req->data); }

static inline tally_t *conn_new(int release) {
  tally_t *t = tally_new(sizeof(conn_t));
  t->has_release = release;
  conn_of(t)->tcp.data = t;
  return t;
}

static inline int conn_connect(uvf_ctx_t *ctx, tally_t *t, const struct addrinfo *list,
                               const uvf_connect_options_t *options) {
  return uvf_tcp_connect(ctx, &conn_of(t)->req, &conn_of(t)->tcp, list, options, conn_done,
                         t->has_release ? conn_release : NULL);
}

static inline void conn_start(uvf_ctx_t *ctx, tally_t *t, const struct addrinfo *list,
                              const uvf_connect_options_t *options) {
  tally_start(t, conn_connect(ctx, t, list, options));
}

/* It is connected to the good address, and the caller's. */
static inline void assert_connected(const tally_t *t) {
  struct sockaddr_in peer;
  int len = sizeof peer;
  assert_int_equal(t->status, 0);
  assert_int_equal(uv_tcp_getpeername(&conn_of(t)->tcp, (struct sockaddr *)&peer, &len), 0);
  assert_int_equal(peer.sin_port, net.good_addr.sin_port);
  assert_ptr_equal(conn_of(t)->tcp.data, t);
  assert_ptr_equal(conn_of(t)->req.tcp, &conn_of(t)->tcp);
  assert_false(uv_is_closing(conn_handle(t)));
  assert_null(uvf__user_find(NULL, conn_handle(t), UVF__USER_CONNECT)); /* the library has forgotten it */
}

static inline void conn_close(const tally_t *t) {
  uv_close(conn_handle(t), NULL);
  run_ready(&io.f->loop);
}

#endif
