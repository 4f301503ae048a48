/* SPDX-License-Identifier: MIT
 *
 * A channel against a model of it: random sends, receives, selects of one case, cancels and closes on one loop, each
 * answer compared with what a plain list of items and of waiters says it must be. The seed is printed.
 */
#include "unit/chan_probe.h"

#define CALLS 300
#define CONTEXTS 4
#define RING 10
#define MANY 6

enum { WAITS, ENDED };

/* One request, and what the model says of it. */
typedef struct actor_s {
  union {
    uvf_op_t op;
    uvf_chan_req_t req;
    uvf_select_t sel;
  } u; /* first */
  uvf_select_case_t cases[2];
  int sends, selects, ctx;
  int number; /* sent */
  int calls, status, item;
  /* the model's */
  int state, wanted_status, wanted_item;
  int far; /* ended by another thread, which only its context knows until the loop comes by */
} actor_t;

typedef struct model_s {
  uvf_chan_t *chan;
  drops_t drops;
  uvf_ctx_t *ctx[CONTEXTS];
  actor_t actor[CALLS];
  int actors;
  size_t capacity;
  int full, closed;
  int ring[RING], held;
  int senders[CALLS], nsenders, receivers[CALLS], nreceivers;
  int dropped[DROPS_MAX], ndropped;
  uint64_t received, sent;
  int next; /* number for the next item */
} model_t;

/* --- the model --- */

static int shift(int *list, int *n) {
  int first = list[0];
  memmove(list, list + 1, (size_t)-- * n * sizeof *list);
  return first;
}

static void forget(int *list, int *n, int who) {
  for (int i = 0; i < *n; i++) {
    if (list[i] != who) continue;
    memmove(list + i, list + i + 1, (size_t)(*n - i - 1) * sizeof *list);
    --*n;
    return;
  }
}

static void ends(model_t *m, int who, int status, int item) {
  actor_t *a = &m->actor[who];
  a->state = ENDED;
  a->wanted_status = status;
  a->wanted_item = item;
}

static int model_place(model_t *m, int item) {
  if (m->closed) return UV_EPIPE;
  if (m->nreceivers > 0) {
    ends(m, shift(m->receivers, &m->nreceivers), 0, item);
    m->received++;
  } else if (m->held < (int)m->capacity) {
    m->ring[m->held++] = item;
  } else if (m->full == UVF_CHAN_WAIT) {
    return UV_EAGAIN;
  } else {
    m->dropped[m->ndropped++] = m->full == UVF_CHAN_DROP_NEWEST ? item : m->ring[0];
    if (m->full == UVF_CHAN_DROP_OLDEST) {
      shift(m->ring, &m->held);
      m->ring[m->held++] = item;
    }
  }
  m->sent++;
  return 0;
}

static int model_take(model_t *m, int *item) {
  if (m->held > 0) {
    *item = shift(m->ring, &m->held);
    if (m->nsenders > 0) {
      int who = shift(m->senders, &m->nsenders);
      m->ring[m->held++] = m->actor[who].number;
      ends(m, who, 0, m->actor[who].number);
      m->sent++;
    }
  } else if (m->nsenders > 0) {
    int who = shift(m->senders, &m->nsenders);
    *item = m->actor[who].number;
    ends(m, who, 0, *item);
    m->sent++;
  } else {
    return m->closed ? UV_EOF : UV_EAGAIN;
  }
  m->received++;
  return 0;
}

static void model_cancel(model_t *m, int who) {
  forget(m->senders, &m->nsenders, who);
  forget(m->receivers, &m->nreceivers, who);
  ends(m, who, UV_ECANCELED, m->actor[who].number);
}

static void model_close(model_t *m) {
  while (m->nreceivers > 0) ends(m, shift(m->receivers, &m->nreceivers), UV_EOF, -1);
  while (m->nsenders > 0) {
    int who = shift(m->senders, &m->nsenders);
    ends(m, who, UV_EPIPE, m->actor[who].number);
  }
  m->closed = 1;
}

/* --- the channel --- */

static void actor_ended(actor_t *a, int status, void *item) {
  a->calls++;
  a->status = status;
  a->item = NUMBER(item);
}

static void on_req(uvf_chan_req_t *req, int status) { actor_ended((actor_t *)(void *)req, status, req->item); }

static void on_select(uvf_select_t *sel, int status) {
  actor_t *a = (actor_t *)(void *)sel;
  actor_ended(a, status, a->cases[1].item);
  if (sel->index != (status == UV_ECANCELED ? 2 : 1)) a->status = -1;
}

static void start(model_t *m, uint64_t *seed) {
  int who = m->actors++;
  actor_t *a = &m->actor[who];
  int rc;
  memset(a, 0xa5, sizeof *a);
  a->calls = a->far = 0;
  a->status = 1;
  a->sends = test_rand(seed) % 2 != 0;
  a->selects = test_rand(seed) % 3 == 0;
  a->ctx = (int)(test_rand(seed) % CONTEXTS);
  a->number = a->sends ? m->next++ : -1;
  a->state = WAITS;
  if (a->selects) {
    a->cases[0].chan = UVF_CHAN_NONE;
    a->cases[0].kind = UVF_SELECT_RECV;
    a->cases[1].chan = m->chan;
    a->cases[1].kind = a->sends ? UVF_SELECT_SEND : UVF_SELECT_RECV;
    a->cases[1].item = ITEM(a->number);
    rc = uvf_select_start(m->ctx[a->ctx], &a->u.sel, a->cases, 2, on_select);
  } else if (a->sends) {
    rc = uvf_chan_send(m->ctx[a->ctx], &a->u.req, m->chan, ITEM(a->number), on_req);
  } else {
    rc = uvf_chan_recv(m->ctx[a->ctx], &a->u.req, m->chan, on_req);
  }
  assert_int_equal(rc, 0);
  assert_int_equal(a->calls, 0);
  if (a->sends) {
    rc = model_place(m, a->number);
    if (rc == UV_EAGAIN) m->senders[m->nsenders++] = who;
    if (rc != UV_EAGAIN) ends(m, who, rc, a->number);
  } else {
    int item = -1;
    rc = model_take(m, &item);
    if (rc == UV_EAGAIN) m->receivers[m->nreceivers++] = who;
    if (rc != UV_EAGAIN) ends(m, who, rc, item);
  }
}

static void try_send(model_t *m) {
  int number = m->next++;
  assert_int_equal(uvf_chan_try_send(m->chan, ITEM(number)), model_place(m, number));
}

static void try_recv(model_t *m) {
  void *item = ITEM(-1);
  int wanted = -1, rc = uvf_chan_try_recv(m->chan, &item);
  assert_int_equal(rc, model_take(m, &wanted));
  assert_int_equal(NUMBER(item), wanted);
}

static void try_send_many(model_t *m, size_t n) {
  void *items[MANY];
  size_t sent = 77, wanted = 0;
  int rc, first = 0;
  for (size_t i = 0; i < n; i++) items[i] = ITEM(m->next + (int)i);
  rc = uvf_chan_try_send_many(m->chan, items, n, &sent);
  while (wanted < n && (first = model_place(m, m->next + (int)wanted)) == 0) wanted++;
  assert_int_equal(sent, wanted);
  assert_int_equal(rc, wanted > 0 ? 0 : first);
  m->next += (int)n;
}

static void try_recv_many(model_t *m, size_t n) {
  void *items[MANY];
  size_t received = 77, wanted = 0;
  int item, first = 0, rc = uvf_chan_try_recv_many(m->chan, items, n, &received);
  while (wanted < n && (first = model_take(m, &item)) == 0) {
    assert_true(wanted < received);
    assert_int_equal(NUMBER(items[wanted]), item);
    wanted++;
  }
  assert_int_equal(received, wanted);
  assert_int_equal(rc, wanted > 0 ? 0 : first);
}

static void cancel_one(model_t *m, uint64_t *seed) {
  int who, rc;
  if (m->actors == 0) return;
  who = (int)(test_rand(seed) % (uint64_t)m->actors);
  rc = uvf_op_cancel(&m->actor[who].u.op);
  if (!m->actor[who].far) assert_int_equal(rc, m->actor[who].state == WAITS ? 0 : UV_EBUSY);
  if (m->actor[who].state == WAITS) model_cancel(m, who);
}

/* On the loop, or on another thread; then the loop does not know yet, and nobody must notice. */
static void cancel_context(model_t *m, fixture_t *f, uint64_t *seed, int far) {
  int which = (int)(test_rand(seed) % CONTEXTS);
  if (far) on_thread(cancel_ctx, m->ctx[which]);
  if (!far) uvf_ctx_cancel(m->ctx[which]);
  for (int i = 0; i < m->actors; i++) {
    if (m->actor[i].ctx != which || m->actor[i].state != WAITS) continue;
    model_cancel(m, i);
    m->actor[i].far = far;
  }
  if (far && test_rand(seed) % 2) { /* and goes on without a turn */
    uvf_ctx_release(m->ctx[which]);
  } else {
    run_ready(&f->loop);
    uvf_ctx_release(m->ctx[which]);
  }
  m->ctx[which] = child_of(f->root);
}

static void compare(model_t *m, fixture_t *f) {
  run_ready(&f->loop);
  for (int i = 0; i < m->actors; i++) {
    actor_t *a = &m->actor[i];
    assert_int_equal(a->calls, a->state == ENDED);
    if (a->state != ENDED) continue;
    assert_int_equal(a->status, a->wanted_status);
    if (a->status == 0 || a->sends) assert_int_equal(a->item, a->wanted_item);
  }
  assert_waiting(m->chan, m->held, m->nsenders, m->nreceivers);
  assert_counters(m->chan, m->sent, m->received, (uint64_t)m->ndropped);
  assert_int_equal(m->drops.n, m->ndropped);
  assert_memory_equal(m->drops.item, m->dropped, (size_t)m->ndropped * sizeof(int));
  assert_int_equal(uvf_chan_is_closed(m->chan), m->closed);
}

static void play(fixture_t *f, uint64_t *seed) {
  model_t *m = calloc(1, sizeof *m);
  assert_non_null(m);
  m->capacity = test_rand(seed) % 5;
  m->full = test_rand(seed) % 3 != 0 ? UVF_CHAN_WAIT : (int)(test_rand(seed) % (m->capacity > 0 ? 3 : 2));
  m->chan = chan_dropping(m->capacity, m->full, &m->drops);
  m->next = 1;
  for (int i = 0; i < CONTEXTS; i++) m->ctx[i] = child_of(f->root);
  while (m->actors < CALLS && m->ndropped < DROPS_MAX - MANY) {
    uint64_t dice = test_rand(seed) % 1000;
    if (dice < 550) {
      start(m, seed);
    } else if (dice < 640) {
      try_send(m);
    } else if (dice < 730) {
      try_recv(m);
    } else if (dice < 780) {
      try_send_many(m, test_rand(seed) % MANY);
    } else if (dice < 830) {
      try_recv_many(m, test_rand(seed) % MANY);
    } else if (dice < 930) {
      cancel_one(m, seed);
    } else if (dice < 940) {
      cancel_context(m, f, seed, 0);
    } else if (dice < 948) {
      cancel_context(m, f, seed, 1);
    } else if (dice < 950) {
      uvf_chan_close(m->chan);
      model_close(m);
    } else {
      compare(m, f);
    }
  }
  uvf_chan_close(m->chan);
  model_close(m);
  compare(m, f);
  for (int i = 0; i < CONTEXTS; i++) uvf_ctx_release(m->ctx[i]);
  uvf_chan_release(m->chan);
  assert_int_equal(m->drops.n, m->ndropped + m->held);
  for (int i = 0; i < m->held; i++) assert_int_equal(m->drops.item[m->ndropped + i], m->ring[i]);
  free(m);
}

static void whatever_is_done_to_it_a_channel_does_what_its_model_does(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  turn(&f->loop); /* its thread is known: what is served is ready at once */
  for (size_t i = test_scaled(400, 8); i > 0; i--) play(f, &seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {unit(whatever_is_done_to_it_a_channel_does_what_its_model_does)};
  return test_run(tests);
}
