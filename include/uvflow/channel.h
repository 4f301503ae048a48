/* SPDX-License-Identifier: MIT
 *
 * uvflow/channel.h: channels, select and merge: items handed from anybody to anybody, each exactly once.
 *
 * A channel is a bounded queue of pointers with waiting on both sides. Any number of senders and receivers, on any loop
 * and any thread, may use one channel at once. What the pointers point at is yours; the library never follows them, and
 * NULL is an item like any other.
 *
 * Where an item is
 * ================
 *
 *  the send ended with         | the item
 *  ----------------------------+----------------------------------------------------------------------------------
 *  0                           | belongs to the channel: it will be received exactly once, or given to the drop
 *                              | function exactly once
 *  anything else               | is still its sender's: nobody has seen it
 *
 *  the receive ended with 0    | belongs to the receiver. A late cancel or deadline never takes it away again: the
 *                              | callback comes with 0 and the item, also when the context has ended by then
 *
 *  the drop function gets an item when: a full channel's policy drops it; the last reference to the channel goes while
 *  it is in there; a merge is cancelled with it in its hand. Without a drop function it is forgotten (counted still).
 *
 * What a channel does
 * ===================
 *
 *  state                        | send                                  | receive
 *  -----------------------------+---------------------------------------+-----------------------------------------
 *  a receiver waits             | handed to the first one, at once      | -
 *  room                         | put in, at once                       | takes the oldest; if none, waits
 *  full                         | waits its turn; or the policy:        | takes the oldest; the first waiting
 *                               | DROP_NEWEST: 0, this item is dropped; | sender's item moves up, and its send
 *                               | DROP_OLDEST: 0, put in, the oldest    | ends with 0
 *                               | item is dropped                       |
 *  capacity 0                   | waits for a receiver (rendezvous)     | takes the first waiting sender's item
 *  closed, items left           | UV_EPIPE, also those who waited       | takes the oldest
 *  closed and empty             | UV_EPIPE                              | UV_EOF, also those who waited
 *  UVF_CHAN_NONE as the channel | waits for its context                 | waits for its context (only in a select)
 *
 *  - First in, first out. Waiting senders and waiting receivers are served in the order they came; a new one never
 *    overtakes. One sender's items arrive in the order of its sends. Of several receivers each gets its turn.
 *  - Under a context that is over a send or receive fails with its err, though there were room or an item. (The try_
 *    functions have no context.)
 *  - Whoever waits is ended by its context, its deadline or uvf_op_cancel as every operation is, and leaves no gap.
 *  - Happens-before: what was done before a send is seen by who receives the item; what was done before a close by who
 *    gets UV_EOF or UV_EPIPE; and a receive that made room by the sender it made room for.
 *  - A wake-up is paid only for a loop that sleeps: items for a loop that is awake or has been signalled cost none.
 *
 * Three ways to wait, the same in everything: a request with a callback on a loop (uvf_chan_send, uvf_chan_recv), not
 * at all (try_), or by blocking (_wait; for threads without a loop).
 */
#ifndef UVFLOW_CHANNEL_H
#define UVFLOW_CHANNEL_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- channel ---------------------------------------------------------------------------------- */

/* Opaque, counted. Whoever uses a channel holds a reference or knows that somebody does; a request that waits in it
 * holds one of its own. */
typedef struct uvf_chan_s uvf_chan_t;

/* Gets an item that nobody will receive. Runs inside the call that caused the drop, on its thread: a send, the last
 * release; no lock is held: it may use the channel (but neither send to nor keep one whose last reference is going). */
typedef void (*uvf_chan_drop_cb)(void *item, void *arg);

/* What a send does when the channel is full. */
enum {
  UVF_CHAN_WAIT = 0,        /* waits */
  UVF_CHAN_DROP_NEWEST = 1, /* drops what is being sent: keeps the backlog */
  UVF_CHAN_DROP_OLDEST = 2  /* drops what has waited longest: keeps the news; needs a capacity */
};

/* All zero is the default of everything: a rendezvous without a drop function. */
typedef struct uvf_chan_options_s {
  size_t capacity; /* items it holds while nobody waits for them; the memory is taken at once, 8 bytes each */
  int full;        /* UVF_CHAN_WAIT, _DROP_NEWEST, _DROP_OLDEST */
  uvf_chan_drop_cb drop;
  void *drop_arg;
} uvf_chan_options_t;

/* Makes a channel; the caller owns the one reference. Any thread. Does not block.
 * UV_EINVAL: out is NULL. UV_ENOMEM: nothing happened. As Go's make(chan T, capacity). */
UVF_EXTERN int uvf_chan_create(size_t capacity, uvf_chan_t **out);

/* The same with options, which are copied.
 * UV_EINVAL: a NULL argument, an unknown policy, DROP_OLDEST with capacity 0. UV_ENOMEM: nothing happened. */
UVF_EXTERN int uvf_chan_create_ex(const uvf_chan_options_t *options, uvf_chan_t **out);

/* One more reference, and returns chan. Any thread. NULL: returns NULL. */
UVF_EXTERN uvf_chan_t *uvf_chan_retain(uvf_chan_t *chan);

/* Gives a reference back. It closes nothing: receivers that wait go on waiting (close first). With the last one items
 * that are left go to the drop function, inside the call, and the memory is freed. Any thread. NULL does nothing. */
UVF_EXTERN void uvf_chan_release(uvf_chan_t *chan);

/* Closes: see the table. What was sent before is still received. Any thread; does not block; nobody's callback runs
 * inside. Closing twice is harmless. NULL does nothing. (Go panics in a sender that finds its channel closed; here it
 * gets UV_EPIPE and keeps its item, so that any side may close.) */
UVF_EXTERN void uvf_chan_close(uvf_chan_t *chan);

/* Items in there now, not those of waiting senders. Any thread; a snapshot. NULL: 0. */
UVF_EXTERN size_t uvf_chan_length(const uvf_chan_t *chan);

/* As created. Any thread. NULL: 0. */
UVF_EXTERN size_t uvf_chan_capacity(const uvf_chan_t *chan);

/* 1 after uvf_chan_close. Any thread; a snapshot. NULL: 0. */
UVF_EXTERN int uvf_chan_is_closed(const uvf_chan_t *chan);

typedef struct uvf_chan_stats_s {
  uint64_t sent;     /* sends that ended with 0, dropped ones included */
  uint64_t received; /* items that went to a receiver; sent = received + dropped + length */
  uint64_t dropped;  /* by policy */
  uint64_t waited;   /* sends and receives that could not be served at once */
  size_t length;
  size_t senders; /* that wait now */
  size_t receivers;
} uvf_chan_stats_t;

/* All of one moment. Any thread. Either NULL: does nothing. */
UVF_EXTERN void uvf_chan_stats(const uvf_chan_t *chan, uvf_chan_stats_t *stats);

/* --- send and receive with a callback --------------------------------------------------------- */

typedef struct uvf_chan_req_s uvf_chan_req_t;

/* Runs on the loop thread of the request's context, exactly once for each start that returned 0. */
typedef void (*uvf_chan_cb)(uvf_chan_req_t *req, int status);

/* A send or a receive; the caller's memory, valid until its callback has been entered. Ended early by
 * uvf_op_cancel((uvf_op_t *)req).
 * item: read-only. Of a send: the item, still yours if the status is not 0. Of a receive: what came, if it is 0. */
struct uvf_chan_req_s {
  UVF_OP_FIELDS
  /* read-only */
  void *item;
  /* private */
  uvf_chan_cb uvf__cb;
  uvf_chan_t *uvf__chan;
  uvf__waiter_t uvf__waiter;
};

/* Sends item. The callback's status: 0; UV_EPIPE closed; UV_ECANCELED or UV_ETIMEDOUT of ctx or of a cancel.
 * Loop thread of ctx; the channel may be shared with any other. Does not block; the callback never runs inside, also
 * when the item could be placed at once (then it is placed inside this call).
 * 0: cb will come. UV_EINVAL: a NULL argument but item. Misuse: a request that is already started; the wrong thread. */
UVF_EXTERN int uvf_chan_send(uvf_ctx_t *ctx, uvf_chan_req_t *req, uvf_chan_t *chan, void *item, uvf_chan_cb cb);

/* Receives one item. The callback's status: 0 with req->item; UV_EOF closed and empty; UV_ECANCELED or UV_ETIMEDOUT of
 * ctx or of a cancel: then no item was taken.
 * Thread, blocking, callback, codes: as uvf_chan_send. */
UVF_EXTERN int uvf_chan_recv(uvf_ctx_t *ctx, uvf_chan_req_t *req, uvf_chan_t *chan, uvf_chan_cb cb);

/* --- without waiting, any thread -------------------------------------------------------------- */

/* Sends now or not at all. 0: sent (or dropped by the policy: only the drop function tells. To be told, as with Go's
 * select and its default case, take UVF_CHAN_WAIT and UV_EAGAIN). UV_EAGAIN: full, or others are waiting to send.
 * UV_EPIPE: closed. UV_EINVAL: NULL channel. After a failure the item is still yours. With capacity 0: only to a
 * receiver that waits (and try_recv only from a sender that waits). Any thread, never blocks; others' callbacks may
 * follow, none runs inside but the drop function. */
UVF_EXTERN int uvf_chan_try_send(uvf_chan_t *chan, void *item);

/* Receives now or not at all. 0: *item. UV_EAGAIN: nothing there. UV_EOF: closed and empty. UV_EINVAL: NULL.
 * *item is written on success only. Any thread, never blocks. */
UVF_EXTERN int uvf_chan_try_recv(uvf_chan_t *chan, void **item);

/* The first of n items, as many as go in at once, in order and with nothing of anybody else's in between (unless a
 * policy drops some); *sent says how many (0 after a failure). 0: at least one. n == 0: 0. Codes and thread as
 * uvf_chan_try_send. */
UVF_EXTERN int uvf_chan_try_send_many(uvf_chan_t *chan, void *const *items, size_t n, size_t *sent);

/* Up to max items at once, the oldest first; *received says how many (0 after a failure). Codes and thread as
 * uvf_chan_try_recv. max == 0: 0. */
UVF_EXTERN int uvf_chan_try_recv_many(uvf_chan_t *chan, void **items, size_t max, size_t *received);

/* --- by blocking, for threads without a loop -------------------------------------------------- */

/* Sends, and blocks until the item is placed or ctx ends. 0; UV_EPIPE; the err of ctx; UV_EINVAL: NULL; UV_EPERM: see
 * base.h, waits. After a failure the item is still yours. For job functions and threads of yours. */
UVF_EXTERN int uvf_chan_send_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void *item);

/* Receives, and blocks until there is an item or ctx ends. 0 with *item; UV_EOF; the err of ctx; UV_EINVAL;
 * UV_EPERM. */
UVF_EXTERN int uvf_chan_recv_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void **item);

/* All n items, blocking as often as it takes; *sent says how many were placed, also after a failure (the rest are still
 * yours). Others' items may come in between. Codes as uvf_chan_send_wait; 0 only if all were sent. */
UVF_EXTERN int uvf_chan_send_many_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void *const *items, size_t n, size_t *sent);

/* Blocks for the first item, then takes what else is there, max at most; *received says how many, at least 1 on
 * success. Codes as uvf_chan_recv_wait. max == 0: 0. */
UVF_EXTERN int uvf_chan_recv_many_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, size_t *received);

/* --- for-each: the range loop ----------------------------------------------------------------- */

typedef struct uvf_chan_each_s uvf_chan_each_t;

/* Gets 1 to 64 items at a time, the oldest first; they are yours. `items` is valid inside only. Loop thread. It may
 * stop the receiver, cancel its context, send to and close the channel; it must not free the request. All n are yours
 * also if it stops. If it runs the loop itself, the end may come inside it. */
typedef void (*uvf_chan_items_cb)(uvf_chan_each_t *each, void *const *items, size_t n);

/* The end, exactly once: UV_EOF closed and drained; UV_ECANCELED or UV_ETIMEDOUT of the context or of a cancel. The
 * library's last touch of the request. Loop thread. */
typedef void (*uvf_chan_end_cb)(uvf_chan_each_t *each, int status);

/* A receiver that goes on; the caller's memory, valid until its end callback has been entered. Stopped early by
 * uvf_op_cancel((uvf_op_t *)each), also from inside its own items callback; items it has not been given stay in the
 * channel, but for one that a sender had handed to it already: that one still comes, before the end. */
struct uvf_chan_each_s {
  UVF_OP_FIELDS
  /* read-only */
  uint64_t count; /* items given so far */
  /* private */
  uvf_chan_items_cb uvf__items;
  uvf_chan_end_cb uvf__end;
  uvf_chan_t *uvf__chan;
  size_t uvf__turn_max;
  size_t uvf__turn_left;
  uint64_t uvf__turn;
  uint32_t uvf__where;
  uint32_t uvf__stopping;
  uint32_t uvf__linger;
  uint32_t uvf__in_vain;
  int *uvf__ended;
  uvf__waiter_t uvf__waiter;
};

/* Receives every item of the channel until it is closed and drained. It gives at most turn_max items in one turn of the
 * loop, then lets the loop see to everything else first; 0: 1,024.
 * Receivers that share a channel share its items: those that wait are woken in turn, one for each item.
 * Loop thread of ctx. Does not block; neither callback runs inside. It holds the loop and the context until its end.
 * 0: on_end will come. UV_EINVAL: a NULL argument. Misuse: already started; the wrong thread.
 * As Go's for item := range channel; the cheapest way to receive on a loop. */
UVF_EXTERN int uvf_chan_each(uvf_ctx_t *ctx, uvf_chan_each_t *each, uvf_chan_t *chan, size_t turn_max,
                             uvf_chan_items_cb on_items, uvf_chan_end_cb on_end);

/* --- select ----------------------------------------------------------------------------------- */

enum { UVF_SELECT_RECV = 0, UVF_SELECT_SEND = 1 };

#define UVF_CHAN_NONE NULL /* a case that never happens */

/* One case; the caller's memory. Fill in the public fields before the first start; the library writes none of them but
 * the item of a receive that happened. A channel may be in several cases, of
 * either kind; a select never deals with itself. */
typedef struct uvf_select_case_s {
  /* public */
  uvf_chan_t *chan; /* UVF_CHAN_NONE: the case is switched off, as with Go's nil channel */
  int kind;         /* UVF_SELECT_RECV or UVF_SELECT_SEND */
  void *item;       /* SEND: what to send. RECV: what came, if this case happened with 0; untouched otherwise */
  /* private */
  uvf__waiter_t uvf__waiter;
  struct uvf_select_case_s *uvf__order;
} uvf_select_case_t;

/* For initialising one: uvf_select_case_t cases[] = {UVF_RECV_CASE(in), UVF_SEND_CASE(out, item)}; */
#define UVF_RECV_CASE(chan)                                                                                            \
  { (chan), UVF_SELECT_RECV, NULL, {NULL, NULL, NULL, NULL, 0}, NULL }
#define UVF_SEND_CASE(chan, item)                                                                                      \
  { (chan), UVF_SELECT_SEND, (item), {NULL, NULL, NULL, NULL, 0}, NULL }

typedef struct uvf_select_s uvf_select_t;

/* Runs on the loop thread, exactly once. status is 0 or negative:
 * 0: the case sel->index happened. UV_EOF: that case is a receive on a channel that is closed and empty. UV_EPIPE: that
 * case is a send on a closed channel. UV_ECANCELED, UV_ETIMEDOUT (context or cancel): no case happened, sel->index is
 * n. Items of all other cases are where they were. */
typedef void (*uvf_select_cb)(uvf_select_t *sel, int status);

/* A select; the caller's memory, and the cases' too: both valid until the callback has been entered. Ended early by
 * uvf_op_cancel((uvf_op_t *)sel). */
struct uvf_select_s {
  UVF_OP_FIELDS
  /* read-only */
  size_t index;
  /* private */
  uvf_select_cb uvf__cb;
  uvf_select_case_t *uvf__cases;
  size_t uvf__n;
  uvf_select_case_t *uvf__order;
  int uvf__waits;
};

/* Waits until one of n cases can happen, and makes exactly that one happen; random among those that are ready at once,
 * so that none starves. A closed channel's case is ready. With n == 0, or all cases off, waits for its context.
 * Loop thread of ctx; the channels may be shared with any other. Does not block; the callback never runs inside. Costs
 * O(n log n). Allocates nothing.
 * A timeout: derive with uvf_ctx_with_timeout, start under that, release it at once; on UV_ETIMEDOUT uvf_ctx_err of the
 * parent tells whether it was the parent's. In cb the same sel and cases may be started again as they are.
 * 0: cb will come. UV_EINVAL: ctx, sel or cb is NULL, cases is NULL with n > 0, or a case's kind is unknown; nothing
 * happened. Misuse: already started; the wrong thread. As Go's select. */
UVF_EXTERN int uvf_select_start(uvf_ctx_t *ctx, uvf_select_t *sel, uvf_select_case_t *cases, size_t n,
                                uvf_select_cb cb);

/* With a default case: one that is ready now, or none. 0, UV_EOF or UV_EPIPE: *index is the case, as above. UV_EAGAIN:
 * none is ready; *index is n. UV_EINVAL as above. Any thread, never blocks. */
UVF_EXTERN int uvf_select_try(uvf_select_case_t *cases, size_t n, size_t *index);

/* By blocking. Codes as uvf_select_start's callback; UV_EINVAL; UV_EPERM: see base.h, waits. */
UVF_EXTERN int uvf_select_wait(uvf_ctx_t *ctx, uvf_select_case_t *cases, size_t n, size_t *index);

/* --- merge: fan-in ---------------------------------------------------------------------------- */

typedef struct uvf_chan_merge_s uvf_chan_merge_t;

/* Runs on the loop thread, exactly once, when no input is being read any more. 0: every input was closed and drained.
 * UV_EPIPE: the output was closed. UV_ECANCELED, UV_ETIMEDOUT: the context, or uvf_chan_merge_cancel. */
typedef void (*uvf_chan_merge_cb)(uvf_chan_merge_t *merge, int status);

/* A merge; the caller's memory, valid until its callback has been entered. */
struct uvf_chan_merge_s {
  /* public */
  void *data;
  /* read-only */
  uvf_ctx_t *ctx; /* its own, under the one given */
  int status;     /* the callback's */
  uint64_t count; /* items passed on */
  /* private */
  uvf_chan_merge_cb uvf__cb;
  uvf_chan_t *uvf__out;
  void *uvf__lanes;
  size_t uvf__running;
};

/* Passes every item of n inputs on to one output: each input's in its order, the inputs in turn as the output has room.
 * It does not close the output (close it in cb if it is yours to close). The inputs must differ (not checked). At most
 * one item of each input is in its hand when it is ended early; that goes to the output's drop function. Loop thread of
 * ctx. Does not block; cb never runs inside. The merge holds a reference to each channel.
 * 0: cb will come. UV_EINVAL: the output is among the inputs; a NULL argument (with n == 0 inputs may be NULL: cb comes
 * with 0, or the err of ctx). UV_ENOMEM: nothing
 * happened. Misuse: the wrong thread. */
UVF_EXTERN int uvf_chan_merge(uvf_ctx_t *ctx, uvf_chan_merge_t *merge, uvf_chan_t *const *inputs, size_t n,
                              uvf_chan_t *out, uvf_chan_merge_cb cb);

/* Ends it early: cb comes with UV_ECANCELED unless it has ended already. Loop thread. NULL: does nothing. */
UVF_EXTERN void uvf_chan_merge_cancel(uvf_chan_merge_t *merge);

#define uvf_chan_send(...) UVF__AT(uvf_chan_send(__VA_ARGS__))
#define uvf_chan_recv(...) UVF__AT(uvf_chan_recv(__VA_ARGS__))
#define uvf_chan_each(...) UVF__AT(uvf_chan_each(__VA_ARGS__))
#define uvf_select_start(...) UVF__AT(uvf_select_start(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_CHANNEL_H */
