/* SPDX-License-Identifier: MIT
 *
 * serve.h: ten thousand requests on hundreds of connections, begun, ended and drained at random, beside a model that
 * says what the ledger must show and which contexts are cancelled.
 */
#include "unit/drain_probe.h"

enum { REQUESTS = 10000, CONNS = 1500, NONE = -1 };

typedef struct slot_s { /* of a request or a connection; used once */
  union {
    uvf_drain_request_t request;
    uvf_drain_conn_t conn;
  } u;
  uvf_ctx_t *ctx; /* NULL: it has none */
  int conn;       /* of a request: where it came; or NONE */
  int busy;       /* of a connection: requests in flight on it */
  int told;       /* its context must be over */
  int at;         /* in the list of those that are open */
} slot_t;

typedef struct list_s {
  slot_t *slots;
  int used, n; /* n are open: */
  int *open;
} list_t;

typedef struct model_s {
  server_t server;
  fixture_t *f;
  uint64_t random;
  list_t requests, conns;
  uint64_t max, shed, refused, ended, cancelled, closed, forced;
  int status; /* fixed as the last on_step returns */
} model_t;

static uint64_t roll(model_t *m, uint64_t below) { return test_rand(&m->random) % below; }

static void list_init(list_t *list, int n) {
  memset(list, 0, sizeof *list);
  list->slots = calloc((size_t)n, sizeof *list->slots);
  list->open = calloc((size_t)n, sizeof *list->open);
  assert_non_null(list->slots);
  assert_non_null(list->open);
}

static void list_add(list_t *list, int i) {
  list->slots[i].at = list->n;
  list->open[list->n++] = i;
}

static void list_remove(list_t *list, int i) {
  int at = list->slots[i].at, last = list->open[--list->n];
  list->open[at] = last;
  list->slots[last].at = at;
}

static slot_t *slot_next(model_t *m, list_t *list) {
  slot_t *slot = &list->slots[list->used++];
  slot->ctx = roll(m, 5) > 0 ? child_of(m->f->root) : NULL;
  slot->conn = NONE;
  return slot;
}

static void tell(slot_t *slot, uint64_t *counter) {
  if (slot->ctx == NULL || slot->told) return;
  slot->told = 1;
  ++*counter;
}

/* --- what is compared --- */

static void check_figures(model_t *m) {
  const uvf_drain_t *drain = &m->server.drain;
  assert_int_equal(drain->requests, m->requests.n);
  assert_int_equal(drain->connections, m->conns.n);
  assert_int_equal(drain->ended, m->ended);
  assert_int_equal(drain->begun, drain->requests + drain->ended);
  assert_int_equal(drain->shed, m->shed);
  assert_int_equal(drain->refused, m->refused);
  assert_int_equal(drain->cancelled, m->cancelled);
  assert_int_equal(drain->closed, m->closed);
  assert_int_equal(drain->forced, m->forced);
}

static void check_contexts(const list_t *list) {
  for (int i = 0; i < list->used; i++) {
    const slot_t *slot = &list->slots[i];
    if (slot->ctx == NULL) continue;
    assert_over(slot->ctx, slot->told ? UV_ECANCELED : 0, slot->told ? UV_ESHUTDOWN : 0);
  }
}

static void check_all(model_t *m) {
  check_figures(m);
  check_contexts(&m->requests);
  check_contexts(&m->conns);
  for (int k = 0; k < m->conns.n; k++) {
    slot_t *slot = &m->conns.slots[m->conns.open[k]];
    assert_int_equal(slot->u.conn.requests, slot->busy);
  }
}

/* --- what may happen: the model goes first, since on_step may be told inside --- */

static void begin(model_t *m) {
  slot_t *slot;
  int i = m->requests.used, conn = NONE, expected = 0;
  if (i == REQUESTS) return;
  slot = slot_next(m, &m->requests);
  if (m->conns.n > 0 && roll(m, 4) > 0) conn = m->conns.open[roll(m, (uint64_t)m->conns.n)];
  if (refuses(m->server.n)) {
    expected = UV_ESHUTDOWN;
    m->refused++;
  } else if (m->max > 0 && (uint64_t)m->requests.n >= m->max) {
    expected = UV_EAGAIN;
    m->shed++;
  } else {
    list_add(&m->requests, i);
    slot->conn = conn;
    if (conn != NONE) m->conns.slots[conn].busy++;
  }
  assert_int_equal(uvf_drain_request_begin(&m->server.drain, &slot->u.request,
                                           conn != NONE ? &m->conns.slots[conn].u.conn : NULL, slot->ctx),
                   expected);
}

static void end(model_t *m) {
  int i;
  slot_t *slot;
  if (m->requests.n == 0) return;
  i = m->requests.open[roll(m, (uint64_t)m->requests.n)];
  slot = &m->requests.slots[i];
  list_remove(&m->requests, i);
  m->ended++;
  if (slot->conn != NONE) {
    slot_t *conn = &m->conns.slots[slot->conn];
    if (--conn->busy == 0 && waits(m->server.n)) tell(conn, &m->closed);
  }
  assert_int_equal(uvf_drain_request_end(&slot->u.request), 0);
  assert_int_equal(uvf_drain_request_end(&slot->u.request), UV_EBUSY);
}

static void open_conn(model_t *m) {
  int i = m->conns.used;
  slot_t *slot;
  if (i == CONNS) return;
  slot = slot_next(m, &m->conns);
  list_add(&m->conns, i);
  if (waits(m->server.n)) tell(slot, &m->closed);
  assert_int_equal(uvf_drain_conn_open(&m->server.drain, &slot->u.conn, slot->ctx), 0);
}

static void close_conn(model_t *m) {
  int i;
  if (m->conns.n == 0) return;
  i = m->conns.open[roll(m, (uint64_t)m->conns.n)];
  list_remove(&m->conns, i);
  for (int k = 0; k < m->requests.n; k++) {
    slot_t *request = &m->requests.slots[m->requests.open[k]];
    if (request->conn == i) request->conn = NONE;
  }
  assert_int_equal(uvf_drain_conn_close(&m->conns.slots[i].u.conn), 0);
}

/* --- the drain --- */

static void model_on_step(server_t *server, int step) {
  model_t *m = server->arg;
  assert_int_equal(server->n, step); /* each once, in order */
  if (step == UVF_DRAIN_CLOSE_IDLE || step == UVF_DRAIN_FORCE_CLOSE) {
    for (int k = 0; k < m->conns.n; k++) {
      slot_t *slot = &m->conns.slots[m->conns.open[k]];
      if (step == UVF_DRAIN_CLOSE_IDLE && slot->busy > 0) continue;
      tell(slot, step == UVF_DRAIN_CLOSE_IDLE ? &m->closed : &m->forced);
    }
  }
  if (step == UVF_DRAIN_CANCEL) {
    for (int k = 0; k < m->requests.n; k++) tell(&m->requests.slots[m->requests.open[k]], &m->cancelled);
  }
  check_all(m);
  while (roll(m, 3) > 0) { /* some things end inside */
    if (roll(m, 2)) {
      end(m);
    } else {
      close_conn(m);
    }
    check_figures(m);
  }
  if (step == UVF_DRAIN_OVER)
    m->status = m->cancelled + m->forced > 0 || m->requests.n + m->conns.n > 0 ? UV_ETIMEDOUT : 0;
}

static void set_limits(model_t *m) {
  uvf_drain_options_t *options = server_options(&m->server);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) {
    options->limit_ms[s] = roll(m, 4) == 0 ? 0 : roll(m, 5) == 0 ? UVF_NO_LIMIT : 1 + roll(m, 300);
  }
  if (roll(m, 2)) m->max = options->max_requests = 50 + roll(m, 500);
}

static void act(model_t *m, int draining) {
  uint64_t what = roll(m, 1000);
  if (what < 400) {
    begin(m);
  } else if (what < 800) {
    end(m);
  } else if (what < 880) {
    open_conn(m);
  } else if (what < 950) {
    close_conn(m);
  } else if (draining && what < 954) {
    (void)uvf_drain_next(&m->server.drain);
  } else if (draining) {
    pass(m->f, roll(m, 4));
  } else {
    begin(m);
  }
  check_figures(m);
}

static void model_free(model_t *m) {
  list_t *lists[] = {&m->requests, &m->conns};
  for (size_t k = 0; k < 2; k++) {
    for (int i = 0; i < lists[k]->used; i++) uvf_ctx_release(lists[k]->slots[i].ctx);
    free(lists[k]->slots);
    free(lists[k]->open);
  }
  free(m);
}

static void run_model(fixture_t *f, uint64_t *seed, int requests_before) {
  model_t *m = calloc(1, sizeof *m);
  int actions = 0;
  assert_non_null(m);
  m->f = f;
  m->random = test_rand(seed);
  list_init(&m->requests, REQUESTS);
  list_init(&m->conns, CONNS);
  server_init(&m->server, f, 0);
  m->server.then = model_on_step;
  m->server.arg = m;
  set_limits(m);
  while (m->requests.used < requests_before) act(m, 0);
  check_all(m);
  server_start(&m->server, f->root);
  while (m->server.calls == 0) {
    act(m, 1);
    if (++actions % 256 == 0) check_all(m);
    if (m->requests.used == REQUESTS && m->conns.used == CONNS) pass(f, 1); /* nothing comes any more */
    assert_true(actions < 1000000);
  }
  if (m->status == 0 && m->server.open > 0) m->status = UV_ETIMEDOUT; /* somebody came when the end was due */
  assert_int_equal(m->server.status, m->status);
  while (m->requests.n + m->conns.n > 0) { /* also what did not end in time goes on to be counted */
    end(m);
    if (m->requests.n == 0) close_conn(m);
    check_figures(m);
  }
  check_all(m);
  assert_over_once(&m->server, m->status);
  assert_told(&m->server, UVF_DRAIN_OVER);
  model_free(m);
}

static void whatever_begins_and_ends_the_ledger_is_right_and_the_drain_over_once(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int rounds = (int)test_scaled(20, 4);
  for (int round = 0; round < rounds; round++)
    run_model(f, &seed, round == 0 ? REQUESTS * 3 / 4 : (int)(test_rand(&seed) % (REQUESTS / 4)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(whatever_begins_and_ends_the_ledger_is_right_and_the_drain_over_once),
  };
  return test_run(tests);
}
