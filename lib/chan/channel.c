/* SPDX-License-Identifier: MIT
 *
 * Channels: a ring, a queue of receivers, a queue of senders, one lock.
 *
 * Parties: senders and receivers, each of which is a request on a loop, a case of a select, or a blocked thread (wait.h
 * makes them all alike), and closers; any of them on any thread.
 *
 * How an item changes hands
 * 1. Whoever arrives is in no queue yet: nobody else can claim it, so it need not claim itself. It looks, under the
 *    channel's lock, whether a partner waits there, claims that one by the CAS that every end of an operation goes
 *    through, and moves the item. So a transfer needs one claim, never two that might have to be undone. (A select that
 *    arrives holds the locks of all its channels meanwhile: see select.c.)
 * 2. A partner that cannot be claimed has ended otherwise: it is out of the queue with that, and the next one is looked
 *    at. One whose context is over is taken out as well, and gets nothing: its end is on its way.
 * 3. Only if no partner is left, and the ring has no room, or no item, does who arrives enter a queue; still under the
 *    same lock, so no partner can come in between.
 * 4. The item is in exactly one place: with its sender (its request waits, or its send failed), in the ring, with a
 *    claimed receiver, or in a call's hand on its way to the drop function. It moves under the lock only.
 * 5. Invariants under the lock: see receivers and senders in chan.h. Whatever makes room (a take, a drop) moves waiting
 *    senders' items up before the lock is released; so a newcomer that finds room overtakes nobody.
 * 6. A waiting request holds a reference, which its delivery gives back: the drop functions that the last reference
 *    runs must not run inside a cancel. A blocked thread relies on its caller's.
 *
 * The lock is a leaf (wait.h): it is released before anybody is told or any drop function is called.
 *
 * Where the 9 ns of a hop on one loop go (row chan-loop of the bench, by a profile):
 *
 *   5    taking the lock for the send, a compare-and-swap; the receiver takes it once for up to 64 items
 *   1.5  the rest of the send: the ring, nobody waits, nobody is to be told
 *   1    the receiver: the copy out of the ring, its callback's call
 *   0.5  waking each other up, spread over a ring's worth of items
 *   1    the bench: numbers made and checked
 *
 * From a thread to a loop it is 16 where the two processors share a cache, and 30 to 45 where they do not (a line takes
 * 70 ns from one to the other, or 210). What is added is lines that change processors: the ring's, eight items each,
 * asked for ahead (ring_put); the channel's own, at every look of the receiver (uvf__chan_linger looks seldom) and
 * every time it takes (all in one run, under uvf__lock_many: the sender is back as soon as that is over).
 */
#include "chan/chan.h"

#include <string.h>

#include "kernel/alloc.h"
#include "kernel/context.h"

#define LINE 64
#define AHEAD ((uintptr_t)2 * LINE)
#define LAST (UINT32_C(1) << 30)
#define LINGER_LOOKS 12
#define LINGER_SPIN_NS 300
#define LINGER_MAX_NS 2000
#define LINGER_CAPACITY 8 /* smaller ones hold too little for it */

/* --- under the lock ------------------------------------------------------------------------------- */

static inline void set_count(uvf_chan_t *chan, size_t count) {
  atomic_store_explicit(&chan->count, count, memory_order_relaxed);
}

static inline void ring_put(uvf_chan_t *chan, void *item) {
  size_t count = uvf__chan_count(chan);
  size_t at = chan->first + count; /* both are at most capacity, whose ring fits into memory: no overflow */
  if (at >= chan->capacity) at -= chan->capacity;
  chan->ring[at] = item;
  UVF__PREFETCH_WRITE((uintptr_t)&chan->ring[at] + AHEAD); /* who took what stood there has its line */
  set_count(chan, count + 1);
}

static inline void *ring_get(uvf_chan_t *chan) {
  void *item = chan->ring[chan->first];
  if (++chan->first == chan->capacity) chan->first = 0;
  set_count(chan, uvf__chan_count(chan) - 1);
  return item;
}

int uvf__chan_place(uvf_chan_t *chan, void *item, uvf__chan_after_t *after) {
  if (UVF__UNLIKELY(chan->closed)) return UV_EPIPE;
  if (chan->receivers.first != NULL) {
    uvf__waiter_t *w = uvf__queue_take(&chan->receivers, &after->told);
    if (w != NULL) {
      w->item = item;
      chan->received++;
      return 0;
    }
  }
  if (uvf__chan_count(chan) == chan->capacity) {
    if (chan->full == UVF_CHAN_WAIT) return UV_EAGAIN;
    after->item = item;
    if (chan->full == UVF_CHAN_DROP_OLDEST) {
      after->item = ring_get(chan);
      ring_put(chan, item);
    }
    after->drops = 1;
    chan->dropped++;
  } else {
    ring_put(chan, item);
  }
  return 0;
}

/* Room was made: the first waiting senders' items move up. */
static void refill(uvf_chan_t *chan, uvf__chan_after_t *after) {
  while (chan->senders.first != NULL && uvf__chan_count(chan) < chan->capacity) {
    uvf__waiter_t *w = uvf__queue_take(&chan->senders, &after->told);
    if (w == NULL) return;
    ring_put(chan, w->item);
  }
}

int uvf__chan_take(uvf_chan_t *chan, void **item, uvf__chan_after_t *after) {
  if (uvf__chan_count(chan) > 0) {
    *item = ring_get(chan);
    chan->received++;
    if (UVF__UNLIKELY(chan->senders.first != NULL)) refill(chan, after);
    return 0;
  }
  if (chan->senders.first != NULL) { /* a rendezvous */
    uvf__waiter_t *w = uvf__queue_take(&chan->senders, &after->told);
    if (w != NULL) {
      *item = w->item;
      chan->received++;
      return 0;
    }
  }
  return chan->closed ? UV_EOF : UV_EAGAIN;
}

/* Up to max that are there, in two runs at most: who sends waits for the lock meanwhile, so lines of the ring that are
 * another processor's are asked for all at once. */
static size_t ring_get_many(uvf_chan_t *chan, void **items, size_t max) {
  size_t count = uvf__chan_count(chan);
  size_t n = count < max ? count : max;
  size_t run = chan->capacity - chan->first;
  if (n == 0) return 0;
  if (run > n) run = n;
  for (size_t i = 0; i < run; i += LINE / sizeof *items) UVF__PREFETCH(&chan->ring[chan->first + i]);
  memcpy(items, &chan->ring[chan->first], run * sizeof *items);
  memcpy(items + run, chan->ring, (n - run) * sizeof *items);
  chan->first = run < n ? n - run : chan->first + run;
  if (chan->first == chan->capacity) chan->first = 0;
  set_count(chan, count - n);
  return n;
}

size_t uvf__chan_take_many(const uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, uvf__chan_after_t *after,
                           int *why) {
  size_t n = 0;
  *why = ctx != NULL ? uvf__ctx_err(ctx) : 0;
  if (*why == 0) {
    n = ring_get_many(chan, items, max);
    chan->received += n;
    if (UVF__UNLIKELY(chan->senders.first != NULL)) refill(chan, after);
  }
  while (*why == 0 && n < max && (*why = uvf__chan_take(chan, &items[n], after)) == 0) n++;
  return n;
}

int uvf__chan_linger(const uvf_chan_t *chan, enum uvf__chan_side what) {
  size_t enough = chan->capacity / 2;
  size_t last = 0;
  uint32_t ns = LINGER_SPIN_NS;
  if (chan->capacity < LINGER_CAPACITY) return 0;
  for (int look = 0; look < LINGER_LOOKS; look++) {
    size_t n;
    uvf__spin(ns);
    n = uvf__chan_count(chan);
    if (what == UVF__CHAN_ROOM) n = chan->capacity - n;
    if (n > 0 && (n <= last || n >= enough)) return 1;
    /* every look takes the line away from who works on it: the next when there should be enough */
    if (n > last) {
      uint32_t more = (uint32_t)((enough - n) * ns / (n - last));
      ns = more < LINGER_MAX_NS ? more : LINGER_MAX_NS;
    }
    last = n;
  }
  return last > 0;
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_chan_create_ex(const uvf_chan_options_t *options, uvf_chan_t **out) {
  uvf_chan_t *chan;
  char *block;
  if (options == NULL || out == NULL) return UV_EINVAL;
  if (options->full < UVF_CHAN_WAIT || options->full > UVF_CHAN_DROP_OLDEST) return UV_EINVAL;
  if (options->full == UVF_CHAN_DROP_OLDEST && options->capacity == 0) return UV_EINVAL;
  if (options->capacity > (SIZE_MAX / 2 - sizeof *chan - LINE) / sizeof chan->ring[0]) return UV_ENOMEM;
  uvf__spin_calibrate();
  uvf__alloc_settle();
  block = uvf__malloc(sizeof *chan + LINE + options->capacity * sizeof chan->ring[0]);
  if (block == NULL) return UV_ENOMEM;
  chan = (uvf_chan_t *)(void *)(block + (LINE - (uintptr_t)block % LINE) % LINE);
  memset(chan, 0, sizeof *chan);
  chan->block = block;
  atomic_init(&chan->refs, 1);
  chan->capacity = options->capacity;
  chan->full = options->full;
  chan->drop = options->drop;
  chan->drop_arg = options->drop_arg;
  *out = chan;
  return 0;
}

int uvf_chan_create(size_t capacity, uvf_chan_t **out) {
  uvf_chan_options_t options = {capacity, UVF_CHAN_WAIT, NULL, NULL};
  return uvf_chan_create_ex(&options, out);
}

uvf_chan_t *uvf_chan_retain(uvf_chan_t *chan) {
  if (chan != NULL) atomic_fetch_add_explicit(&chan->refs, 1, memory_order_relaxed);
  return chan;
}

void uvf_chan_release(uvf_chan_t *chan) {
  if (chan == NULL || atomic_fetch_sub_explicit(&chan->refs, 1, memory_order_acq_rel) != 1) return;
  /* what drop functions retain and release is nothing any more */
  atomic_store_explicit(&chan->refs, LAST, memory_order_relaxed);
  while (uvf__chan_count(chan) > 0) uvf__chan_drop(chan, ring_get(chan));
  uvf__free(chan->block);
}

void uvf__chan_drop(uvf_chan_t *chan, void *item) {
  if (chan->drop != NULL) chan->drop(item, chan->drop_arg);
}

void uvf__chan_after(uvf_chan_t *chan, uvf__chan_after_t *after) {
  uvf_chan_drop_cb drop = chan->drop; /* one of the told may have held the channel for the caller */
  void *arg = chan->drop_arg;
  uvf__tell(&after->told);
  if (UVF__UNLIKELY(after->drops && drop != NULL)) drop(after->item, arg);
}

void uvf_chan_close(uvf_chan_t *chan) {
  uvf__told_t told;
  uvf__waiter_t *w;
  if (chan == NULL) return;
  uvf__told_init(&told);
  uvf__lock(&chan->lock);
  chan->closed = 1;
  while ((w = uvf__queue_take(&chan->receivers, &told)) != NULL) w->op->status = UV_EOF; /* one waits: it is empty */
  while ((w = uvf__queue_take(&chan->senders, &told)) != NULL) w->op->status = UV_EPIPE;
  uvf__unlock(&chan->lock);
  uvf__tell(&told);
}

/* --- looking -------------------------------------------------------------------------------------- */

/* The lock is part of looking, too. */
static uvf_chan_t *mutably(const uvf_chan_t *chan) { return (uvf_chan_t *)(uintptr_t)chan; }

size_t uvf_chan_length(const uvf_chan_t *chan) { return chan == NULL ? 0 : uvf__chan_count(chan); }

size_t uvf_chan_capacity(const uvf_chan_t *chan) { return chan == NULL ? 0 : chan->capacity; }

int uvf_chan_is_closed(const uvf_chan_t *chan) {
  int closed;
  if (chan == NULL) return 0;
  uvf__lock(&mutably(chan)->lock);
  closed = chan->closed != 0;
  uvf__unlock(&mutably(chan)->lock);
  return closed;
}

static size_t queue_length(const uvf__queue_t *queue) {
  size_t n = 0;
  for (const uvf__waiter_t *w = queue->first; w != NULL; w = w->next) n++;
  return n;
}

void uvf_chan_stats(const uvf_chan_t *chan, uvf_chan_stats_t *stats) {
  if (chan == NULL || stats == NULL) return;
  uvf__lock(&mutably(chan)->lock);
  stats->received = chan->received;
  stats->dropped = chan->dropped;
  stats->waited = chan->waited;
  stats->length = uvf__chan_count(chan);
  stats->sent = chan->received + chan->dropped + stats->length;
  stats->senders = queue_length(&chan->senders);
  stats->receivers = queue_length(&chan->receivers);
  uvf__unlock(&mutably(chan)->lock);
}

/* --- requests ------------------------------------------------------------------------------------- */

static uvf_chan_req_t *req_of(uvf_op_t *op) { return (uvf_chan_req_t *)(void *)op; }
static uvf_op_t *op_of(uvf_chan_req_t *req) { return (uvf_op_t *)(void *)req; }

static int withdraw_send(uvf_op_t *op) {
  uvf_chan_t *chan = req_of(op)->uvf__chan;
  uvf__queue_leave(&chan->lock, &chan->senders, &req_of(op)->uvf__waiter);
  return 1;
}

static int withdraw_recv(uvf_op_t *op) {
  uvf_chan_t *chan = req_of(op)->uvf__chan;
  uvf__queue_leave(&chan->lock, &chan->receivers, &req_of(op)->uvf__waiter);
  return 1;
}

static int deliver(uvf_op_t *op) {
  uvf_chan_req_t *req = req_of(op);
  uvf_chan_t *chan = req->uvf__chan; /* NULL: it did not wait, and holds no reference */
  req->item = req->uvf__waiter.item;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  req->uvf__cb(req, op->status);
  uvf_chan_release(chan);
  return 1;
}

const uvf__op_type_t uvf__chan_send_type = {"send", withdraw_send, deliver, uvf__wait_posted, 0, NULL};
const uvf__op_type_t uvf__chan_recv_type = {"recv", withdraw_recv, deliver, uvf__wait_posted, 0, NULL};

void uvf__chan_fill(uvf_chan_req_t *req, void *item, uvf_chan_cb cb) {
  req->item = item;
  req->uvf__cb = cb;
  req->uvf__chan = NULL;
  uvf__waiter_init(&req->uvf__waiter, op_of(req));
  req->uvf__waiter.item = item;
}

/* Under the lock: it must wait. `holds`: a reference, until it is delivered. */
static void enqueue(uvf_chan_t *chan, uvf__queue_t *queue, uvf_chan_req_t *req, int holds) {
  req->uvf__chan = chan;
  if (holds) uvf_chan_retain(chan);
  chan->waited++;
  uvf__queue_push(queue, &req->uvf__waiter);
}

/* Under the lock. Its context is looked at once more: what others do after its end must not meet it. */
static int try_send(uvf_chan_t *chan, uvf_chan_req_t *req, uvf__chan_after_t *after) {
  int err = uvf__ctx_err(req->ctx);
  return err != 0 ? err : uvf__chan_place(chan, req->uvf__waiter.item, after);
}

static int try_recv(uvf_chan_t *chan, uvf_chan_req_t *req, uvf__chan_after_t *after) {
  int err = uvf__ctx_err(req->ctx);
  return err != 0 ? err : uvf__chan_take(chan, &req->uvf__waiter.item, after);
}

void uvf__chan_start_send(uvf_chan_t *chan, uvf_chan_req_t *req, int holds) {
  uvf__chan_after_t after;
  int rc;
  uvf__chan_after_init(&after);
  uvf__lock(&chan->lock);
  rc = try_send(chan, req, &after);
  if (rc == UV_EAGAIN && !holds && chan->senders.first == NULL && uvf__block_may_linger()) {
    uvf__unlock(&chan->lock);
    uvf__chan_linger(chan, UVF__CHAN_ROOM);
    uvf__lock(&chan->lock);
    rc = try_send(chan, req, &after);
  }
  if (rc == UV_EAGAIN) enqueue(chan, &chan->senders, req, holds);
  uvf__unlock(&chan->lock);
  if (rc != UV_EAGAIN) uvf__wait_now(op_of(req), rc);
  uvf__chan_after(chan, &after);
}

void uvf__chan_start_recv(uvf_chan_t *chan, uvf_chan_req_t *req, int holds) {
  uvf__chan_after_t after;
  int rc;
  uvf__chan_after_init(&after);
  uvf__lock(&chan->lock);
  rc = try_recv(chan, req, &after);
  if (rc == UV_EAGAIN && !holds && chan->receivers.first == NULL && uvf__block_may_linger()) {
    uvf__unlock(&chan->lock);
    uvf__chan_linger(chan, UVF__CHAN_ITEMS);
    uvf__lock(&chan->lock);
    rc = try_recv(chan, req, &after);
  }
  if (rc == UV_EAGAIN) enqueue(chan, &chan->receivers, req, holds);
  uvf__unlock(&chan->lock);
  if (rc != UV_EAGAIN) uvf__wait_now(op_of(req), rc);
  uvf__chan_after(chan, &after);
}

int(uvf_chan_send)(uvf_ctx_t *ctx, uvf_chan_req_t *req, uvf_chan_t *chan, void *item, uvf_chan_cb cb) {
  int rc;
  if (ctx == NULL || req == NULL || chan == NULL || cb == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op_of(req), &uvf__chan_send_type, "uvf_chan_send");
  if (rc < 0) return rc;
  uvf__chan_fill(req, item, cb);
  if (rc > 0) uvf__chan_start_send(chan, req, 1);
  return 0;
}

int(uvf_chan_recv)(uvf_ctx_t *ctx, uvf_chan_req_t *req, uvf_chan_t *chan, uvf_chan_cb cb) {
  int rc;
  if (ctx == NULL || req == NULL || chan == NULL || cb == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op_of(req), &uvf__chan_recv_type, "uvf_chan_recv");
  if (rc < 0) return rc;
  uvf__chan_fill(req, NULL, cb);
  if (rc > 0) uvf__chan_start_recv(chan, req, 1);
  return 0;
}
