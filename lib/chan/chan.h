/* SPDX-License-Identifier: MIT
 *
 * The channel from inside: its state, and what may be done with it under its lock. For channel.c, each.c, select.c and
 * merge.c.
 */
#ifndef UVF_CHAN_CHAN_H
#define UVF_CHAN_CHAN_H

#include <stdatomic.h>

#include "kernel/wait.h"
#include "uvflow/channel.h"

/* The first line is all that a send or a receive touches that need not wait, with the ring. */
struct uvf_chan_s {
  uint32_t lock; /* guards everything but refs, and what is constant */
  uint32_t closed;
  size_t capacity;       /* constant */
  size_t first;          /* of the ring: where the oldest item is */
  _Atomic(size_t) count; /* of items in the ring. Written under the lock; a look without it is a hint */
  /* Where somebody waits, but for those who have ended and are about to be taken out, and for a select, which does not
   * deal with itself: receivers: the ring is empty, no sender waits, it is not closed. */
  uvf__queue_t receivers;
  uvf__queue_t senders; /* the ring is full (or there is none), it is not closed */
  /* second line */
  uint64_t received; /* what was sent follows: received + dropped + count */
  uint64_t dropped;
  uint64_t waited;
  _Atomic(uint32_t) refs;
  int full; /* constant from here on */
  uvf_chan_drop_cb drop;
  void *drop_arg;
  void *block; /* what was allocated; the channel begins at the first line in it */
  void *ring[];
};

static inline size_t uvf__chan_count(const uvf_chan_t *chan) {
  return atomic_load_explicit(&chan->count, memory_order_relaxed);
}

/* What a call on a channel leaves to be done when the lock is released. */
typedef struct uvf__chan_after_s {
  uvf__told_t told;
  void *item; /* to be dropped, if `drops` */
  int drops;
} uvf__chan_after_t;

static inline void uvf__chan_after_init(uvf__chan_after_t *after) {
  uvf__told_init(&after->told);
  after->drops = 0;
}

/* Does it. No lock held. */
void uvf__chan_after(uvf_chan_t *chan, uvf__chan_after_t *after);

/* Gives an item that is not in the channel to its drop function. No lock held. */
void uvf__chan_drop(uvf_chan_t *chan, void *item);

/* Under the lock: places an item, if that can be done without waiting. 0; UV_EAGAIN: it would have to wait;
 * UV_EPIPE. */
int uvf__chan_place(uvf_chan_t *chan, void *item, uvf__chan_after_t *after);

/* Under the lock: takes one, if there is any. 0; UV_EAGAIN: none; UV_EOF. */
int uvf__chan_take(uvf_chan_t *chan, void **item, uvf__chan_after_t *after);

/* Under the lock: as many as there are, up to max; how many. *why: UV_EAGAIN or UV_EOF if that is less than max, or the
 * err of ctx (which may be NULL): one that is over gets nothing, also if its loop does not know yet. */
size_t uvf__chan_take_many(const uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, uvf__chan_after_t *after,
                           int *why);

/* The requests, on a loop or of a blocked thread: uvf__op_begin or uvf__block_begin, fill, start. `holds`: a reference
 * to the channel, while it waits, until it is delivered. */
extern const uvf__op_type_t uvf__chan_send_type;
extern const uvf__op_type_t uvf__chan_recv_type;
void uvf__chan_fill(uvf_chan_req_t *req, void *item, uvf_chan_cb cb);
void uvf__chan_start_send(uvf_chan_t *chan, uvf_chan_req_t *req, int holds);
void uvf__chan_start_recv(uvf_chan_t *chan, uvf_chan_req_t *req, int holds);

/* As many as can be without waiting; nothing, and its err, if ctx (which may be NULL) is over. */
int uvf__chan_send_some(const uvf_ctx_t *ctx, uvf_chan_t *chan, void *const *items, size_t n, size_t *sent);
int uvf__chan_recv_some(const uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, size_t *received);

/* For one side that found nothing to do (items: receivers; room: senders) while the other may be busy on another
 * thread: looks on for some microseconds, without the lock, before it says that it waits. As long as there is more at
 * each look it goes on, so that it comes back for a good many at once: two threads that hand single items to and fro
 * spend their time on waiting for each other's cache line. 1 if there is something. */
enum uvf__chan_side { UVF__CHAN_ITEMS, UVF__CHAN_ROOM };
int uvf__chan_linger(const uvf_chan_t *chan, enum uvf__chan_side what);

#endif
