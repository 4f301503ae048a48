/* SPDX-License-Identifier: MIT
 *
 * Two loops, each with an echo server and many clients of both servers, under random deadlines, with threads that
 * cancel contexts at random and every way to close a stream. Whatever happens: each callback comes once and in its
 * order, every byte that comes back is the one that was sent, and of each conversation
 *
 *   came back <= written by the server <= read by the server <= written by the client
 *
 * with equality when it ran to its end; of a write that libuv still had when the stream broke nobody knows how
 * much had gone, so there "written" is a most. Afterwards no connection, no memory and no descriptor is left.
 */
#include <signal.h>
#include <stdatomic.h>

#include "support/fds.h"
#include "unit/probe.h"

enum { SIDES = 2, CANCELLERS = 2, SLOTS = 8, AT_ONCE = 40, HEAD = 8, ROOM = 8192, STUCK_S = 120 };

/* --- what went wrong, from any thread --- */

static atomic_int faults;

static void check(int cond, const char *rule) {
  if (cond) return;
  if (atomic_fetch_add(&faults, 1) < 10) fprintf(stderr, "broken: %s\n", rule);
}

/* --- conversations: each field is one loop's; read when the threads are gone --- */

typedef struct record_s {
  size_t total;
  size_t sent, sent_most, back;  /* the client's */
  size_t heard, said, said_most; /* the server's */
  int complete, served, cut;     /* cut: connected, but not complete */
} record_t;

static record_t *records;
static size_t nrecords;
static atomic_size_t next_record, clients_over, conns_open;
static atomic_size_t starts, dones, releases_due, releases; /* of requests */

static char byte_of(size_t id, size_t place) {
  if (place < HEAD) return (char)(id >> 8 * place & 0xff);
  return (char)((id * 1000003 + place) * UINT64_C(0x9e3779b97f4a7c15) >> 29 & 0xff);
}

/* --- contexts for the cancellers: a slot owns a reference --- */

static _Atomic(uvf_ctx_t *) slots[SLOTS];
static atomic_int cancellers_stop;

static void cancel_some(void *arg) {
  uint64_t seed = *(uint64_t *)arg;
  while (!atomic_load(&cancellers_stop)) {
    uvf_ctx_t *ctx = atomic_exchange(&slots[test_rand(&seed) % SLOTS], NULL);
    if (ctx != NULL && test_rand(&seed) % 2) uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (test_rand(&seed) % 16 == 0) uv_sleep(1);
  }
}

/* --- connections --- */

typedef struct side_s {
  lane_t lane;
  uvf_ctx_t *root;
  uint64_t seed;
  uv_tcp_t server;
  uv_timer_t timer;
  int stopping;
  size_t clients;
} side_t;

static side_t sides[SIDES];
static struct sockaddr_in servers[SIDES];

typedef struct conn_s {
  uv_tcp_t tcp;
  side_t *side;
  uvf_ctx_t *ctx;
  uvf_guard_t guard;
  int refs; /* the open handle, and each request that is on its way */
  int is_client, is_open, reading, writing;
  size_t id, total, heard, said; /* read from it, written to it */
  size_t lost;                   /* of a write that failed: perhaps written */
  size_t asked;                  /* of the write on its way */
  struct sockaddr_in addr;
  struct addrinfo info;
  uvf_connect_t connect;
  uvf_read_t read;
  uvf_write_t write;
  char in[ROOM], out[ROOM];
} conn_t;

static void conn_unref(conn_t *c) {
  record_t *r;
  if (--c->refs > 0) return;
  r = c->id < nrecords ? &records[c->id] : NULL;
  if (c->is_client) {
    r->sent = c->said;
    r->sent_most = c->said + c->lost;
    r->back = c->heard;
    r->complete = c->heard == c->total;
    c->side->clients--;
    atomic_fetch_add(&clients_over, 1);
  } else {
    if (c->heard >= HEAD && r != NULL) {
      check(!r->served, "one connection a conversation");
      r->served = 1;
      r->heard = c->heard;
      r->said = c->said;
      r->said_most = c->said + c->lost;
    }
    atomic_fetch_sub(&conns_open, 1);
  }
  uvf_ctx_cancel(c->ctx);
  uvf_ctx_release(c->ctx);
  free(c);
}

static void on_conn_closed(uv_handle_t *handle) {
  conn_t *c = handle->data;
  check(c->is_open, "a handle is closed once");
  c->is_open = 0;
  conn_unref(c);
}

static void conn_close(conn_t *c) {
  uint64_t how = test_rand(&c->side->seed) % 3;
  if (!c->is_open || uv_is_closing((uv_handle_t *)&c->tcp)) return;
  if (how == 0) {
    (void)uvf_guard_close(&c->guard);
  } else if (how == 1) {
    if (uvf_guard_stop(&c->guard) == 0) uvf_stream_close((uv_stream_t *)&c->tcp, on_conn_closed);
  } else {
    uvf_ctx_cancel(c->ctx);
  }
}

/* Every start comes through here; 0: it is on its way. */
static int conn_began(conn_t *c, int rc, int has_release) {
  if (rc != 0) {
    check(rc == UV_EINVAL || rc == UV_ENOTCONN || rc == UV_EPIPE, "a start fails with what the header says");
    conn_close(c);
    return rc;
  }
  c->refs++;
  atomic_fetch_add(&starts, 1);
  atomic_fetch_add(&releases_due, (size_t)has_release);
  return 0;
}

static int is_end(int status) { return status == UV_ECANCELED || status == UV_ETIMEDOUT; }
static int is_break(int status) { return status == UV_EPIPE || status == UV_ECONNRESET; }

static void conn_read(conn_t *c);
static void conn_write(conn_t *c);

static void hear(conn_t *c) {
  for (size_t i = 0; i < c->read.nread; i++, c->heard++) {
    if (c->is_client) {
      check(c->in[i] == byte_of(c->id, c->heard), "what comes back is what was sent");
    } else if (c->heard < HEAD) {
      if (c->heard == 0) c->id = 0;
      c->id |= (size_t)(unsigned char)c->in[i] << 8 * c->heard;
    }
  }
}

static void on_conn_read(uvf_read_t *req, int status) {
  conn_t *c = req->data;
  atomic_fetch_add(&dones, 1);
  check(c->reading, "a read is told once");
  check(status == 0 || status == UV_EOF || is_end(status) || is_break(status), "a read's status is a read's");
  check(req->limit == 0 || status == UV_ETIMEDOUT, "a limit is told with UV_ETIMEDOUT");
  c->reading = 0;
  hear(c);
  if (status != 0 || (c->is_client && c->heard == c->total)) {
    conn_close(c);
  } else if (c->is_client) {
    conn_read(c);
  } else {
    conn_write(c); /* reads on when that has gone */
  }
  conn_unref(c);
}

static void conn_read(conn_t *c) {
  uint64_t *seed = &c->side->seed;
  size_t len = 1 + test_rand(seed) % ROOM;
  uvf_read_limits_t limits = {0};
  if (test_rand(seed) % 8 == 0) limits.idle_ms = 5 + test_rand(seed) % 50;
  if (test_rand(seed) % 8 == 0) limits.total_ms = 5 + test_rand(seed) % 50;
  if (c->is_client && test_rand(seed) % 4 == 0) limits.min = 1 + test_rand(seed) % len;
  if (c->is_client && limits.min > c->total - c->heard) limits.min = 0;
  c->reading = 1;
  if (conn_began(c, uvf_read_start(c->ctx, &c->read, (uv_stream_t *)&c->tcp, c->in, len, &limits, on_conn_read), 0))
    c->reading = 0;
}

/* The write is libuv's no more. */
static void written(conn_t *c) {
  int more = c->write.status == 0;
  c->writing = 0;
  c->said += c->write.nwritten;
  if (!more) c->lost = c->asked - c->write.nwritten;
  if (!more) {
    conn_close(c);
  } else if (!c->is_client) {
    conn_read(c);
  } else if (c->said < c->total) {
    conn_write(c);
  }
  conn_unref(c);
}

static void on_conn_written(uvf_write_t *req, int status) {
  conn_t *c = req->data;
  atomic_fetch_add(&dones, 1);
  check(c->writing == 1 || c->writing == 2, "a write is told once");
  check(status == 0 || is_end(status) || is_break(status), "a write's status is a write's");
  if (c->writing == 2) {
    c->writing = 3;
    if (status != 0) conn_close(c); /* so that libuv lets go */
  } else {
    written(c);
  }
}

static void on_conn_write_release(uvf_write_t *req) {
  conn_t *c = req->data;
  atomic_fetch_add(&releases, 1);
  check(c->writing == 3, "release comes once, after done");
  memset(c->out, 0xdb, sizeof c->out);
  written(c);
}

static void conn_write(conn_t *c) {
  uint64_t *seed = &c->side->seed;
  unsigned int n = 1 + (unsigned int)(test_rand(seed) % 20);
  size_t len = c->is_client ? 1 + test_rand(seed) % ROOM : c->read.nread, at = 0;
  int has_release = (int)(test_rand(seed) % 2);
  uv_buf_t bufs[20];
  if (c->is_client && len > c->total - c->said) len = c->total - c->said;
  if (!c->is_client) memcpy(c->out, c->in, len);
  for (size_t i = 0; c->is_client && i < len; i++) c->out[i] = byte_of(c->id, c->said + i);
  for (unsigned int i = 0; i < n; i++) {
    size_t part = i + 1 < n ? test_rand(seed) % (len - at + 1) : len - at;
    bufs[i] = uv_buf_init(c->out + at, (unsigned int)part);
    at += part;
  }
  c->writing = has_release ? 2 : 1;
  c->asked = len;
  if (conn_began(c,
                 uvf_write_start(c->ctx, &c->write, (uv_stream_t *)&c->tcp, bufs, n, on_conn_written,
                                 has_release ? on_conn_write_release : NULL),
                 has_release))
    c->writing = 0;
}

static conn_t *conn_new(side_t *side) {
  conn_t *c = malloc(sizeof *c);
  int rc;
  if (c == NULL) abort();
  memset(c, 0xa5, sizeof *c);
  memset(&c->guard, 0, sizeof c->guard);
  c->side = side;
  c->refs = c->is_client = c->is_open = c->reading = c->writing = 0;
  c->id = SIZE_MAX;
  c->total = c->heard = c->said = c->lost = c->asked = 0;
  c->connect.data = c->read.data = c->write.data = c->tcp.data = c;
  rc = test_rand(&side->seed) % 3 == 0 ? uvf_ctx_with_timeout(side->root, 1 + test_rand(&side->seed) % 60, &c->ctx)
                                       : uvf_ctx_with_cancel(side->root, &c->ctx);
  check(rc == 0, "a context is made");
  if (test_rand(&side->seed) % 2)
    uvf_ctx_release(atomic_exchange(&slots[test_rand(&side->seed) % SLOTS], uvf_ctx_retain(c->ctx)));
  return c;
}

/* The handle is open, and from now on the context's. */
static void conn_open(conn_t *c) {
  c->refs++;
  c->is_open = 1;
  check(uvf_guard_start(c->ctx, &c->guard, (uv_handle_t *)&c->tcp, on_conn_closed) == 0, "a handle is bound");
}

static void on_connection(uv_stream_t *server, int status) {
  side_t *side = server->data;
  conn_t *c = conn_new(side);
  check(status == 0, "a connection comes");
  atomic_fetch_add(&conns_open, 1);
  if (uv_tcp_init(&side->lane.loop, &c->tcp) != 0) abort();
  check(uv_accept(server, (uv_stream_t *)&c->tcp) == 0, "it is accepted");
  conn_open(c);
  conn_read(c);
}

/* --- clients --- */

static void on_connected(uvf_connect_t *req, int status) {
  conn_t *c = req->data;
  atomic_fetch_add(&dones, 1);
  check(status == 0 || is_end(status) || is_break(status) || status == UV_ECONNREFUSED,
        "a connect's status is a connect's");
  if (status != 0) return;
  records[c->id].cut = 1;
  conn_open(c);
  conn_read(c);
  conn_write(c);
}

static void on_connect_release(uvf_connect_t *req) {
  atomic_fetch_add(&releases, 1);
  conn_unref(req->data);
}

static void client_start(side_t *side) {
  size_t id = atomic_fetch_add(&next_record, 1);
  conn_t *c;
  if (id >= nrecords) return;
  c = conn_new(side);
  c->is_client = 1;
  c->id = id;
  c->total = records[id].total = HEAD + test_rand(&side->seed) % (test_rand(&side->seed) % 8 ? 10000 : 3000000);
  c->addr = servers[test_rand(&side->seed) % SIDES];
  memset(&c->info, 0, sizeof c->info);
  c->info.ai_family = AF_INET;
  c->info.ai_socktype = SOCK_STREAM;
  c->info.ai_addr = (struct sockaddr *)&c->addr;
  c->info.ai_addrlen = sizeof c->addr;
  side->clients++;
  if (conn_began(c, uvf_tcp_connect(c->ctx, &c->connect, &c->tcp, &c->info, NULL, on_connected, on_connect_release), 1))
    check(0, "a connect is begun");
}

static void on_tick(uv_timer_t *timer) {
  side_t *side = timer->data;
  while (!side->stopping && side->clients < AT_ONCE && atomic_load(&next_record) < nrecords) client_start(side);
}

/* --- a side; these run on its thread --- */

static void side_listen(void *arg) {
  side_t *side = arg;
  int len = (int)sizeof servers[0];
  struct sockaddr_in *addr = &servers[side - sides];
  side->root = side->lane.root;
  if (uv_ip4_addr("127.0.0.1", 0, addr) != 0 || uv_tcp_init(&side->lane.loop, &side->server) != 0 ||
      uv_tcp_bind(&side->server, (const struct sockaddr *)addr, 0) != 0 ||
      uv_listen((uv_stream_t *)&side->server, 511, on_connection) != 0 ||
      uv_tcp_getsockname(&side->server, (struct sockaddr *)addr, &len) != 0)
    abort();
  side->server.data = side;
}

static void side_begin(void *arg) {
  side_t *side = arg;
  if (uv_timer_init(&side->lane.loop, &side->timer) != 0) abort();
  side->timer.data = side;
  if (uv_timer_start(&side->timer, on_tick, 0, 1) != 0) abort();
}

static void side_end(void *arg) {
  side_t *side = arg;
  side->stopping = 1;
  uv_close((uv_handle_t *)&side->server, NULL);
  uv_close((uv_handle_t *)&side->timer, NULL);
  lane_close_root(&side->lane); /* with all that is on its way */
}

static void sides_call(void (*fn)(void *)) {
  for (size_t i = 0; i < SIDES; i++) lane_call(&sides[i].lane, fn, &sides[i]);
}

static void check_records(int to_the_end) {
  size_t complete = 0, cut = 0;
  for (size_t i = 0; i < nrecords; i++) {
    const record_t *r = &records[i];
    complete += (size_t)r->complete;
    cut += (size_t)(r->cut && !r->complete);
    if (!r->served) continue;
    if (r->back > r->said_most || r->said > r->heard || r->heard > r->sent_most || r->sent > r->total)
      fail_msg("conversation %zu of %zu: %zu to %zu sent, %zu heard, %zu to %zu said, %zu back", i, r->total, r->sent,
               r->sent_most, r->heard, r->said, r->said_most, r->back);
    if (r->complete) assert_true(r->back == r->total && r->said == r->total && r->sent == r->total);
  }
  printf("%zu conversations: %zu ran to their end, %zu were cut; %zu requests\n", nrecords, complete, cut,
         atomic_load(&starts));
  assert_int_equal(atomic_load(&dones), atomic_load(&starts));
  assert_int_equal(atomic_load(&releases), atomic_load(&releases_due));
  assert_int_equal(atomic_load(&conns_open), 0);
  if (to_the_end) assert_true(complete > 0 && cut > 0);
}

/* Runs n conversations; to their end, or until `part` of them is over. */
static void converse(size_t n, size_t part) {
  uint64_t seed = test_seed(), seeds[CANCELLERS], end_ns = uv_hrtime() + STUCK_S * 1000 * MS_NS;
  uv_thread_t cancellers[CANCELLERS];
  size_t fds = test_fd_count(), blocks = test_alloc_live();
  memset(sides, 0, sizeof sides);
  nrecords = n;
  records = calloc(n, sizeof *records);
  assert_non_null(records);
  atomic_store(&cancellers_stop, 0);
  atomic_store(&next_record, 0);
  atomic_store(&clients_over, 0);
  for (int i = 0; i < SIDES; i++) {
    lane_start(&sides[i].lane);
    sides[i].seed = test_rand(&seed) | 1;
  }
  sides_call(side_listen);
  for (int i = 0; i < CANCELLERS; i++) {
    seeds[i] = test_rand(&seed) | 1;
    assert_int_equal(uv_thread_create(&cancellers[i], cancel_some, &seeds[i]), 0);
  }
  sides_call(side_begin);
  while (atomic_load(&clients_over) < part || (part == n && atomic_load(&conns_open) > 0)) {
    uv_sleep(1);
    if (uv_hrtime() > end_ns)
      fail_msg("stuck with %zu of %zu over, %zu open", atomic_load(&clients_over), n, atomic_load(&conns_open));
  }
  sides_call(side_end);
  for (int i = 0; i < SIDES; i++) lane_stop(&sides[i].lane);
  atomic_store(&cancellers_stop, 1);
  for (int i = 0; i < CANCELLERS; i++) assert_int_equal(uv_thread_join(&cancellers[i]), 0);
  for (int i = 0; i < SLOTS; i++) uvf_ctx_release(atomic_exchange(&slots[i], NULL));
  check_records(part == n);
  free(records);
  assert_int_equal(atomic_load(&faults), 0);
  assert_int_equal(test_alloc_live(), blocks);
  assert_int_equal(test_fd_count(), fds);
}

static void conversations_under_random_ends_balance(void **state) {
  (void)state;
  converse(test_scaled(6000, 20), test_scaled(6000, 20));
}

static void roots_closed_in_the_middle_of_everything_leave_nothing(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) converse(test_scaled(600, 4), test_scaled(200, 4));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conversations_under_random_ends_balance),
      cmocka_unit_test(roots_closed_in_the_middle_of_everything_leave_nothing),
  };
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN);
#endif
  return test_run(tests);
}
