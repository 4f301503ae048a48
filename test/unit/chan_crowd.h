/* SPDX-License-Identifier: MIT
 *
 * Producers and consumers of every kind, on threads and on loops, and the book that is kept of their items: each was
 * received exactly once, and the items of one producer came to each consumer in the order they were sent in.
 */
#ifndef UVFLOW_TEST_CHAN_CROWD_H
#define UVFLOW_TEST_CHAN_CROWD_H

#include "unit/chan_probe.h"

enum {
  PRODUCE_WAIT,
  PRODUCE_TRY,
  PRODUCE_MANY,
  PRODUCE_LANE,
  PRODUCE_SELECT_WAIT,
  PRODUCE_SELECT_LANE,
  CONSUME_WAIT,
  CONSUME_TRY,
  CONSUME_MANY,
  CONSUME_LANE,
  CONSUME_EACH,
  CONSUME_SELECT_WAIT,
  CONSUME_SELECT_LANE
};

#define CROWD_MAX 32
#define CROWD_EACH 65536 /* items of one producer at most */
#define CROWD_BATCH 10

typedef struct worker_s {
  union {
    uvf_chan_req_t req;
    uvf_chan_each_t each;
    uvf_select_t sel;
  } u; /* first */
  int kind, id;
  uvf_chan_t *chan[2]; /* the second for selects only */
  uvf_ctx_t *ctx;
  lane_t *lane;
  int n;      /* producers: how many; consumers: the room in got */
  int at;     /* sent, or received */
  int *got;   /* consumers */
  int status; /* how it ended: 0 or EOF */
  uvf_select_case_t cases[2];
  gate_t done;
  uv_thread_t thread;
  int threaded;
} worker_t;

static inline void worker_ends(worker_t *w, int status) {
  w->status = status;
  gate_open(&w->done, 1);
}

static inline void *worker_item(const worker_t *w, int at) { return ITEM(w->id * CROWD_EACH + at + 1); }

static inline void worker_got(worker_t *w, void *item) {
  if (w->at < w->n) w->got[w->at] = NUMBER(item);
  w->at++;
}

/* --- threads --- */

static inline int many_round(worker_t *w) {
  void *items[CROWD_BATCH];
  size_t n = 0;
  int rc;
  if (w->kind == CONSUME_MANY) {
    rc = uvf_chan_recv_many_wait(w->ctx, w->chan[0], items, CROWD_BATCH, &n);
    for (size_t i = 0; i < n; i++) worker_got(w, items[i]);
    if (rc == 0 && n == 0) rc = UV_EPROTO;
    return rc;
  }
  while (n < CROWD_BATCH && w->at + (int)n < w->n) {
    items[n] = worker_item(w, w->at + (int)n);
    n++;
  }
  rc = uvf_chan_send_many_wait(w->ctx, w->chan[0], items, n, &n);
  w->at += (int)n;
  return rc;
}

/* The cases of a select of the worker's; 0 if none is on. */
static inline size_t worker_cases(worker_t *w) {
  int sends = w->kind == PRODUCE_SELECT_WAIT || w->kind == PRODUCE_SELECT_LANE;
  for (int i = 0; i < 2; i++) {
    w->cases[i].chan = w->chan[i];
    w->cases[i].kind = sends ? UVF_SELECT_SEND : UVF_SELECT_RECV;
    w->cases[i].item = sends ? worker_item(w, w->at) : ITEM(-1);
  }
  return w->chan[0] != NULL || w->chan[1] != NULL ? 2 : 0;
}

/* 1: go on. */
static inline int worker_chose(worker_t *w, int status, size_t index) {
  int sends = w->kind == PRODUCE_SELECT_WAIT || w->kind == PRODUCE_SELECT_LANE;
  if (status == UV_EOF) {
    w->chan[index] = UVF_CHAN_NONE;
    if (w->chan[1 - index] != UVF_CHAN_NONE) return 1;
  }
  if (status != 0) {
    worker_ends(w, status);
    return 0;
  }
  if (sends) {
    if (++w->at < w->n) return 1;
    worker_ends(w, 0);
    return 0;
  }
  worker_got(w, w->cases[index].item);
  return 1;
}

static inline void worker_main(void *arg) {
  worker_t *w = arg;
  void *item = NULL;
  int rc = 0;
  int sends = w->kind < CONSUME_WAIT;
  if (w->kind == PRODUCE_SELECT_WAIT || w->kind == CONSUME_SELECT_WAIT) {
    size_t index = 0;
    do {
      size_t n = worker_cases(w);
      rc = uvf_select_wait(w->ctx, w->cases, n, &index);
    } while (worker_chose(w, rc, index));
    return;
  }
  while (rc == 0 && !(sends && w->at == w->n)) {
    switch (w->kind) {
      case PRODUCE_WAIT: rc = uvf_chan_send_wait(w->ctx, w->chan[0], worker_item(w, w->at)); break;
      case PRODUCE_TRY: rc = uvf_chan_try_send(w->chan[0], worker_item(w, w->at)); break;
      case CONSUME_WAIT: rc = uvf_chan_recv_wait(w->ctx, w->chan[0], &item); break;
      case CONSUME_TRY: rc = uvf_chan_try_recv(w->chan[0], &item); break;
      default: rc = many_round(w); break;
    }
    if (rc == UV_EAGAIN) {
      rc = 0;
      uv_sleep(0);
    } else if (rc == 0 && (w->kind == PRODUCE_WAIT || w->kind == PRODUCE_TRY)) {
      w->at++;
    } else if (rc == 0 && (w->kind == CONSUME_WAIT || w->kind == CONSUME_TRY)) {
      worker_got(w, item);
    }
  }
  worker_ends(w, rc);
}

/* --- loops --- */

static inline void worker_on_req(uvf_chan_req_t *req, int status) {
  worker_t *w = (worker_t *)(void *)req;
  if (status == 0 && w->kind == CONSUME_LANE) {
    worker_got(w, req->item);
    status = uvf_chan_recv(w->ctx, &w->u.req, w->chan[0], worker_on_req);
  } else if (status == 0) {
    if (++w->at == w->n) {
      worker_ends(w, 0);
      return;
    }
    status = uvf_chan_send(w->ctx, &w->u.req, w->chan[0], worker_item(w, w->at), worker_on_req);
  }
  if (status != 0) worker_ends(w, status);
}

static inline void worker_on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  worker_t *w = (worker_t *)(void *)each;
  for (size_t i = 0; i < n; i++) worker_got(w, items[i]);
}

static inline void worker_on_end(uvf_chan_each_t *each, int status) { worker_ends((worker_t *)(void *)each, status); }

static inline void worker_on_select(uvf_select_t *sel, int status) {
  worker_t *w = (worker_t *)(void *)sel;
  size_t n;
  if (!worker_chose(w, status, sel->index)) return;
  n = worker_cases(w);
  status = uvf_select_start(w->ctx, &w->u.sel, w->cases, n, worker_on_select);
  if (status != 0) worker_ends(w, status);
}

static inline void worker_on_lane(void *arg) {
  worker_t *w = arg;
  int rc;
  w->ctx = w->lane->root;
  switch (w->kind) {
    case PRODUCE_LANE: rc = uvf_chan_send(w->ctx, &w->u.req, w->chan[0], worker_item(w, 0), worker_on_req); break;
    case CONSUME_LANE: rc = uvf_chan_recv(w->ctx, &w->u.req, w->chan[0], worker_on_req); break;
    case CONSUME_EACH: rc = uvf_chan_each(w->ctx, &w->u.each, w->chan[0], 0, worker_on_items, worker_on_end); break;
    default: {
      size_t n = worker_cases(w);
      rc = uvf_select_start(w->ctx, &w->u.sel, w->cases, n, worker_on_select);
      break;
    }
  }
  if (rc != 0) worker_ends(w, rc);
}

/* --- the crowd --- */

typedef struct crowd_s {
  int n, producers;
  worker_t worker[CROWD_MAX]; /* producers first */
  lane_t lane[2];
} crowd_t;

static inline int kind_on_lane(int kind) {
  return kind == PRODUCE_LANE || kind == PRODUCE_SELECT_LANE || kind == CONSUME_LANE || kind == CONSUME_EACH ||
         kind == CONSUME_SELECT_LANE;
}

/* Runs them to their end: kinds, producers first, ended by -1; `each` items of each producer. Those of select use both
 * channels; the others the first and the second in turn (second == NULL: all the first). Blocks under ctx. */
static inline void crowd_run(uvf_ctx_t *ctx, uvf_chan_t *first, uvf_chan_t *second, const int *kinds_of, int each) {
  crowd_t *crowd = calloc(1, sizeof *crowd);
  char *seen;
  int all;
  assert_non_null(crowd);
  assert_true(each < CROWD_EACH);
  for (int i = 0; i < 2; i++) lane_start(&crowd->lane[i]);
  for (; kinds_of[crowd->n] >= 0; crowd->n++) {
    worker_t *w = &crowd->worker[crowd->n];
    int k = kinds_of[crowd->n];
    int selects =
        k == PRODUCE_SELECT_LANE || k == PRODUCE_SELECT_WAIT || k == CONSUME_SELECT_LANE || k == CONSUME_SELECT_WAIT;
    assert_true(crowd->n < CROWD_MAX);
    w->kind = k;
    w->id = crowd->n;
    if (k < CONSUME_WAIT) crowd->producers = crowd->n + 1;
    w->ctx = ctx;
    w->lane = &crowd->lane[crowd->n % 2];
    w->chan[0] = !selects && second != NULL && crowd->n % 2 ? second : first;
    w->chan[1] = selects ? second : NULL;
    gate_init(&w->done);
  }
  all = crowd->producers * each;
  for (int i = crowd->n - 1; i >= 0; i--) { /* consumers wait before there is anything */
    worker_t *w = &crowd->worker[i];
    w->n = i < crowd->producers ? each : all;
    w->got = malloc((size_t)(all + 1) * sizeof *w->got);
    assert_non_null(w->got);
    w->threaded = !kind_on_lane(w->kind);
    if (w->threaded) assert_int_equal(uv_thread_create(&w->thread, worker_main, w), 0);
    if (!w->threaded) lane_call(w->lane, worker_on_lane, w);
  }
  for (int i = 0; i < crowd->producers; i++) gate_pass(&crowd->worker[i].done);
  uvf_chan_close(first);
  uvf_chan_close(second);
  for (int i = crowd->producers; i < crowd->n; i++) gate_pass(&crowd->worker[i].done);
  for (int i = 0; i < crowd->n; i++) {
    if (crowd->worker[i].threaded) assert_int_equal(uv_thread_join(&crowd->worker[i].thread), 0);
  }
  for (int i = 0; i < 2; i++) lane_stop(&crowd->lane[i]);
  seen = calloc((size_t)CROWD_MAX * CROWD_EACH + 1, 1);
  assert_non_null(seen);
  for (int i = 0; i < crowd->n; i++) {
    worker_t *w = &crowd->worker[i];
    int last[CROWD_MAX] = {0};
    assert_int_equal(w->status, i < crowd->producers ? 0 : UV_EOF);
    if (i < crowd->producers) assert_int_equal(w->at, each);
    for (int k = 0; i >= crowd->producers && k < w->at; k++) {
      int number = w->got[k], from = (number - 1) / CROWD_EACH, seq = (number - 1) % CROWD_EACH + 1;
      assert_true(number > 0 && from < crowd->producers && seq <= each);
      assert_int_equal(seen[number], 0); /* never twice */
      seen[number] = 1;
      all--;
      if (second == NULL) assert_true(seq > last[from]); /* in order, where there is one way to go */
      last[from] = seq;
    }
    gate_destroy(&w->done);
    free(w->got);
  }
  assert_int_equal(all, 0); /* never lost */
  free(seen);
  free(crowd);
}

#endif
