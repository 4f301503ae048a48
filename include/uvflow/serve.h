/* SPDX-License-Identifier: MIT
 *
 * uvflow/serve.h: what a server author calls: signals, draining, the values a request carries, retries and hedges.
 * The headers of a request, its budget and its status are codec.h's.
 */
#ifndef UVFLOW_SERVE_H
#define UVFLOW_SERVE_H

#include "base.h"
#include "codec.h"
#include "context.h"
#include "io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- signals ---------------------------------------------------------------------------------- */

typedef struct uvf_signals_s uvf_signals_t;

/* Runs on the loop thread at the first signal, after the context has been cancelled. */
typedef void (*uvf_signals_cb)(uvf_signals_t *signals, int signum);

/* Runs on the loop thread when the handles are closed: the library's last touch. */
typedef void (*uvf_signals_close_cb)(uvf_signals_t *signals);

#define UVF_SIGNALS_MAX 4

/* data:   yours. ctx: the context that the first signal ends. signum: which it was; 0: none has come. */
struct uvf_signals_s {
  void *data;
  /* read-only */
  uvf_ctx_t *ctx;
  int signum;
  /* private */
  uvf_signals_cb uvf__cb;
  uvf_signals_close_cb uvf__close_cb;
  uint32_t uvf__open;
  uint32_t uvf__count;
  uint32_t uvf__on;
  uv_signal_t uvf__handles[UVF_SIGNALS_MAX];
  uvf_guard_t uvf__guards[UVF_SIGNALS_MAX];
  uvf__owned_t uvf__owned[UVF_SIGNALS_MAX];
};

/* Makes *ctx, a child of parent that the first of these signals ends: UV_ECANCELED, the cause is the signal's number. A
 * second signal, of any of them, ends the process at once with 128 + its number: nothing is flushed, no job waited for
 * (which exit() would do). As Go's signal.NotifyContext, but for the second.
 * What runs under *ctx is cut by the signal, with a cause that uvf_http_status does not know (500): a server that
 * drains derives its requests from parent, and starts the drain in cb.
 * signums == NULL: SIGINT and SIGTERM. Up to UVF_SIGNALS_MAX. cb may be NULL, and ctx too if cb is not. The caller owns
 * a reference to *ctx.
 * The signals are caught until parent ends, or uvf_signals_stop. They do not hold the loop, and reach a loop that runs
 * only: one that is blocked in a callback sees no second signal either. `signals` must stay valid until the callback of
 * uvf_signals_stop, or of the root's close. uvf_owns_handle is 1 for its handles.
 * Loop thread of parent. Does not block; cb never runs inside.
 * UV_EINVAL: NULL, one signal twice, n > UVF_SIGNALS_MAX, n == 0 with signums, a signal that cannot be caught.
 * UV_ENOMEM and libuv's errors: nothing happened; but after any of these errors `signals` may be freed or started again
 * only when the loop has turned once: handles that had been opened are being closed.
 * Misuse: already started. On Windows SIGTERM is never raised from outside. */
UVF_EXTERN int uvf_signals_start(uvf_ctx_t *parent, uvf_signals_t *signals, const int signums[], size_t n,
                                 uvf_signals_cb cb, uvf_ctx_t **ctx);

/* Catches them no more: the system's own action is back. *ctx is left as it is. close_cb, which may be NULL, runs
 * when `signals` is the caller's again; also when parent has ended meanwhile. Loop thread. `signals` must have been
 * started, or be zeroed.
 * 0. UV_EINVAL: NULL. UV_EBUSY: they were never started, were stopped before, or are closed already. */
UVF_EXTERN int uvf_signals_stop(uvf_signals_t *signals, uvf_signals_close_cb close_cb);

/* --- drain ------------------------------------------------------------------------------------ */

/* How a server ends. Each step has a limit in ms, is told to on_step as it begins, and ends as said:
 *
 *  step             | as it begins                                      | ends, at its limit or earlier
 *  -----------------+---------------------------------------------------+----------------------------------------------
 *  SERVING          |                                                   | uvf_drain_start
 *  NOT_READY        | uvf_drain_is_ready says no: health checks fail    | at its limit: load balancers have noticed
 *  LAME_DUCK        | you ask clients to go: GOAWAY, Connection: close; | at its limit
 *                   | everything is still served                        |
 *  STOP_ACCEPTING   | you close the listeners; requests are refused     | at its limit
 *                   | from here on (UV_ESHUTDOWN)                       |
 *  CLOSE_IDLE       | the contexts of idle connections are cancelled;   | at its limit, or when nothing is open
 *                   | from here on also of those that become idle       |
 *  WAIT             |                                                   | when nothing is open
 *  CANCEL           | the contexts of the requests are cancelled        | when nothing is open
 *  FORCE_CLOSE      | the contexts of all connections are cancelled     | when nothing is open
 *  JOIN             |                                                   | when nothing is open
 *  OVER             | the callback                                      |
 *
 * A limit of 0 passes at once; UVF_NO_LIMIT waits as long as it takes. All those cancels have the cause UV_ESHUTDOWN,
 * which uvf_http_status makes 503, unless another is given. "Nothing is open": no request and no connection.
 *
 * The drain is a ledger as well: requests and connections are entered as they begin and taken out as they end, so it
 * limits and counts them. All of it belongs to one loop's thread; nothing blocks; nothing allocates. */
typedef enum {
  UVF_DRAIN_SERVING,
  UVF_DRAIN_NOT_READY,
  UVF_DRAIN_LAME_DUCK,
  UVF_DRAIN_STOP_ACCEPTING,
  UVF_DRAIN_CLOSE_IDLE,
  UVF_DRAIN_WAIT,
  UVF_DRAIN_CANCEL,
  UVF_DRAIN_FORCE_CLOSE,
  UVF_DRAIN_JOIN,
  UVF_DRAIN_OVER
} uvf_drain_step_t;

#define UVF_NO_LIMIT UINT64_MAX

typedef struct uvf_drain_s uvf_drain_t;

/* Runs on the loop thread as a step begins, after what the library does in it; never inside uvf_drain_start, but inside
 * the uvf_drain_request_end, uvf_drain_conn_close or uvf_drain_next that brings the step about. */
typedef void (*uvf_drain_step_cb)(uvf_drain_t *drain, uvf_drain_step_t step);

/* Runs on the loop thread, exactly once for a uvf_drain_start that returned 0. 0: everything ended by itself.
 * UV_ETIMEDOUT: requests were cancelled or connections forced to close, as drain->cancelled and forced say, or did not
 * even end then (drain->requests, drain->connections). The err of its context, or UV_ECANCELED: the drain was given up
 * where it was. Never inside on_step, nor in a loop that is run there. */
typedef void (*uvf_drain_cb)(uvf_drain_t *drain, int status);

typedef struct uvf_drain_options_s {
  uint64_t limit_ms[UVF_DRAIN_OVER]; /* by step; that of SERVING is not used */
  uint64_t max_requests;             /* in flight at once; 0: no limit */
  int cause;                         /* of the cancels; 0: UV_ESHUTDOWN */
  uvf_drain_step_cb on_step;         /* may be NULL */
} uvf_drain_options_t;

/* The defaults: 0 but for WAIT 10,000, CANCEL 1,000, FORCE_CLOSE 1,000, JOIN UVF_NO_LIMIT; no limit of requests. */
UVF_EXTERN void uvf_drain_options_init(uvf_drain_options_t *options);

/* A connection or a request in the ledger; the caller's memory, from begin or open to end or close. */
typedef struct uvf_drain_conn_s {
  void *data; /* yours */
  /* read-only */
  uvf_drain_t *drain;
  uvf_ctx_t *ctx;
  uint64_t requests; /* in flight on it; 0: it is idle */
  /* private */
  uvf__link_t uvf__link;
  uvf__link_t *uvf__requests;
  uint32_t uvf__told;
} uvf_drain_conn_t;

typedef struct uvf_drain_request_s {
  void *data; /* yours */
  /* read-only */
  uvf_drain_t *drain; /* NULL once it has ended */
  uvf_drain_conn_t *conn;
  uvf_ctx_t *ctx;
  /* private */
  uvf__link_t uvf__link;
  uvf__link_t uvf__of_conn;
} uvf_drain_request_t;

struct uvf_drain_s {
  UVF_OP_FIELDS
  /* read-only */
  uvf_drain_step_t step;
  uint64_t requests;    /* in flight */
  uint64_t connections; /* open */
  uint64_t begun;       /* requests since init: begun = requests + ended */
  uint64_t ended;
  uint64_t shed;      /* requests turned away: max_requests */
  uint64_t refused;   /* requests turned away: draining */
  uint64_t cancelled; /* requests whose context the drain has cancelled */
  uint64_t closed;    /* idle connections whose context it has cancelled */
  uint64_t forced;    /* other connections */
  /* private */
  uvf_drain_options_t uvf__options;
  uvf_drain_cb uvf__cb;
  uvf__link_t *uvf__requests;
  uvf__link_t *uvf__conns;
  uvf__timeout_t uvf__timeout;
  uint32_t uvf__moving;
  uint32_t uvf__due;
};

/* Makes an empty one that serves. options may be NULL; they are copied. Any thread. 0. UV_EINVAL: NULL.
 * Nothing needs to be freed; but it must stay where it is until every request and connection has left it, also after
 * the callback of uvf_drain_start. */
UVF_EXTERN int uvf_drain_init(uvf_drain_t *drain, const uvf_drain_options_t *options);

/* uvf_drain_conn_open: a connection is there. ctx: its own, to be cancelled to have it closed; bind its handle there
 * with a guard, or watch it. NULL if you do that yourself in on_step. Kept (retained) until the close. On a connection
 * that begins while the drain closes idle ones ctx is cancelled at once. UV_EINVAL, and misuse: one that cannot be
 * cancelled (a root, without_cancel).
 * A connection without a request is idle, and closed first: one that works without requests (a proxy's, a WebSocket)
 * enters one for its whole life.
 * uvf_drain_conn_close: it is closed, and may be freed. Call it before uvf_drain_request_end of its last request when
 * both end together: else it is idle for that moment, which a drain acts on. Its other requests go on without it.
 * Loop thread. 0. UV_EINVAL: NULL. Misuse: opened twice; closed twice. */
UVF_EXTERN int uvf_drain_conn_open(uvf_drain_t *drain, uvf_drain_conn_t *conn, uvf_ctx_t *ctx);
UVF_EXTERN int uvf_drain_conn_close(uvf_drain_conn_t *conn);

/* A request begins. conn: the connection it came on, which is not idle meanwhile; or NULL. ctx: its context, kept until
 * the end; may be NULL; as above.
 * 0: it is in flight. UV_EAGAIN: max_requests are; answer 503 with Retry-After. UV_ESHUTDOWN: the server is draining;
 * the same, and Connection: close. UV_EINVAL: drain or request is NULL, a connection of another drain. After an error
 * request is not in the ledger, and request->drain is NULL. Loop thread. */
UVF_EXTERN int uvf_drain_request_begin(uvf_drain_t *drain, uvf_drain_request_t *request, uvf_drain_conn_t *conn,
                                       uvf_ctx_t *ctx);

/* It was answered, or its client is gone, and nothing runs for it any more. 0. UV_EINVAL: NULL. UV_EBUSY: it was not in
 * flight (never begun: then it must be zeroed, or have been refused; or ended). Loop thread. */
UVF_EXTERN int uvf_drain_request_end(uvf_drain_request_t *request);

/* 1 as long as new work is welcome: what a health check answers. NULL: 0. Loop thread. */
UVF_EXTERN int uvf_drain_is_ready(const uvf_drain_t *drain);

/* Begins to drain, under ctx, which should outlive the requests: the root, or a context that ends when the whole thing
 * has taken long enough.
 * A drain that is given up (its context, uvf_op_cancel) stays at the step where it was: it is not ready, refuses what
 * that step refuses, and cannot be started again. (When another thread cancels ctx, one more step may be told before
 * the loop hears of it.)
 * Loop thread of ctx. 0: cb will come. UV_EINVAL: NULL; it was started before. */
UVF_EXTERN int uvf_drain_start(uvf_ctx_t *ctx, uvf_drain_t *drain, uvf_drain_cb cb);

/* Ends the step it is in, as if its limit were over: for an operator in a hurry. 0. UV_EINVAL: NULL, it does not drain.
 * Loop thread. */
UVF_EXTERN int uvf_drain_next(uvf_drain_t *drain);

/* "serving", "lame duck" ...; static memory. Any thread. */
UVF_EXTERN const char *uvf_drain_step_name(uvf_drain_step_t step);

/* --- request values --------------------------------------------------------------------------- */

/* A typed key: UVF_VALUE(identity, struct identity) declares, and UVF_VALUE_DEFINE(identity, struct identity) in one .c
 * file defines
 *   int identity_with(uvf_ctx_t *parent, struct identity *value, uvf_value_free_cb free_cb, uvf_ctx_t **ctx);
 *   struct identity *identity_of(const uvf_ctx_t *ctx);
 * that is uvf_ctx_with_value and uvf_ctx_value with a key that nobody else has. As the unexported key type and its
 * accessors in Go. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a type and a part of a name take none */
#define UVF_VALUE(name, type)                                                                                          \
  int name##_with(uvf_ctx_t *parent, type *value, uvf_value_free_cb free_cb, uvf_ctx_t **ctx);                         \
  type *name##_of(const uvf_ctx_t *ctx)
#define UVF_VALUE_DEFINE(name, type)                                                                                   \
  static char name##_key; /* not const: constants of equal value may be merged */                                      \
  int name##_with(uvf_ctx_t *parent, type *value, uvf_value_free_cb free_cb, uvf_ctx_t **ctx) {                        \
    return uvf_ctx_with_value(parent, &name##_key, (void *)value, free_cb, ctx);                                       \
  }                                                                                                                    \
  type *name##_of(const uvf_ctx_t *ctx) { return (type *)uvf_ctx_value(ctx, &name##_key); }                            \
  typedef int name##_is_defined /* takes the semicolon */
/* NOLINTEND(bugprone-macro-parentheses) */

/* A child that carries the id of its request: len bytes, copied and terminated. As uvf_ctx_with_value. UV_EINVAL: also
 * len == 0. */
UVF_EXTERN int uvf_ctx_with_request_id(uvf_ctx_t *parent, const char *id, size_t len, uvf_ctx_t **ctx);

/* The id in the nearest context that has one; NULL: there is none. Valid as long as ctx is held. Any thread. */
UVF_EXTERN const char *uvf_ctx_request_id(const uvf_ctx_t *ctx);

/* The same with the trace it belongs to, which is copied. */
UVF_EXTERN int uvf_ctx_with_trace(uvf_ctx_t *parent, const uvf_trace_t *trace, uvf_ctx_t **ctx);
UVF_EXTERN const uvf_trace_t *uvf_ctx_trace(const uvf_ctx_t *ctx);

/* --- metadata --------------------------------------------------------------------------------- */

/* Many values in one: pairs of text that travel with a request, as gRPC's metadata. A set that a context carries never
 * changes: a child that adds gets a set of its own, which points at its ancestors' pairs and copies the new ones, while
 * others go on reading the old one, on any thread.
 * For values of your own and those of gRPC's headers. What any client may write (baggage, with keys of a wider grammar)
 * would let it refuse the whole set with one bad key: add such pairs one by one. */

/* key:   lower case letters, digits, '_', '-', '.'; upper case is lowered in the copy. Terminated.
 * value: value_len bytes: printable ASCII; any bytes if the key ends in "-bin". Terminated in the copy. NULL: empty. */
typedef struct uvf_metadata_s {
  const char *key;
  const char *value;
  size_t value_len;
} uvf_metadata_t;

enum {
  UVF_METADATA_ADD = 0, /* behind what the ancestors have of the same key */
  UVF_METADATA_SET = 1  /* in its place: those are not seen from here on */
};

/* A child with these pairs added to what parent has. As uvf_ctx_with_value: loop thread, UV_EINVAL also for a bad key
 * or value, UV_ENOMEM: nothing happened; the child owns the copy. n == 0: a plain child. */
UVF_EXTERN int uvf_ctx_with_metadata(uvf_ctx_t *parent, const uvf_metadata_t pairs[], size_t n, int how,
                                     uvf_ctx_t **ctx);

/* The pairs that ctx carries, oldest first, in *pairs (which may be NULL), and their number. Any thread; valid as long
 * as ctx is held. NULL: 0. */
UVF_EXTERN size_t uvf_ctx_metadata(const uvf_ctx_t *ctx, const uvf_metadata_t **pairs);

/* The value of key that was added last; NULL: there is none. key in lower case. Any thread. */
UVF_EXTERN const char *uvf_metadata_get(const uvf_ctx_t *ctx, const char *key);

/* --- retry and hedge -------------------------------------------------------------------------- */

/* Several attempts at one thing, under one deadline: the next one when the last has failed (retry), or when it has not
 * answered for a while (hedge). The first success wins, and the contexts of the others are cancelled. */

typedef struct uvf_retry_s uvf_retry_t;
typedef struct uvf_attempt_s uvf_attempt_t;

/* Begins an attempt, under attempt->ctx. Runs on the loop thread, from the loop. 0: uvf_attempt_done will be called,
 * exactly once, inside or later. Anything else: it has failed with that, and uvf_attempt_done must not be called. */
typedef int (*uvf_attempt_start_cb)(uvf_attempt_t *attempt);

/* Runs on the loop thread once it is decided. 0: retry->winner has succeeded. Otherwise the status of the last attempt
 * that failed, the err of the context, or UV_ECANCELED. */
typedef void (*uvf_retry_cb)(uvf_retry_t *retry, int status);

/* Runs on the loop thread after done, when every attempt has ended: the library's last touch of retry and attempts. */
typedef void (*uvf_retry_release_cb)(uvf_retry_t *retry);

/* data: yours, set before the start. */
struct uvf_attempt_s {
  void *data;
  /* read-only */
  uvf_retry_t *retry;
  uvf_ctx_t *ctx;      /* valid from its start until it is done */
  unsigned int number; /* from 0 */
  int status;          /* once it is done */
  /* private */
  uint32_t uvf__state;
};

/* Keeps retries from multiplying the load on a backend that fails: each failure takes a token, each success gives back
 * a part of one, and there are no retries and hedges while half of the tokens or more are gone. Shared by all calls to
 * one backend, from any loop and thread.
 * As gRPC's retry throttling: a failure that is not retryable takes none, nor does an attempt that lost; one that took
 * longer than attempt_ms takes one. It is asked as a pause begins and as it ends, so calls that fail together find it
 * empty together. */
typedef struct uvf_retry_budget_s {
  /* private, thousandths */
  uint32_t uvf__tokens;
  uint32_t uvf__max;
  uint32_t uvf__ratio;
} uvf_retry_budget_t;

/* max_tokens from 1 to 1000000; ratio: what a success gives back, 0 < ratio <= max_tokens (usual: 10 and 0.1). 0;
 * UV_EINVAL: out of range, NULL. Full at first. Nothing needs to be freed. */
UVF_EXTERN int uvf_retry_budget_init(uvf_retry_budget_t *budget, double max_tokens, double ratio);

/* What is left, in tokens. Any thread. NULL: 0. */
UVF_EXTERN double uvf_retry_budget_tokens(const uvf_retry_budget_t *budget);

/* attempt_ms:     how long one attempt may take; 0, or UVF_NO_LIMIT: as long as ctx has.
 * hedge_ms:       how long after one attempt the next begins if none has answered; 0, or UVF_NO_LIMIT: only after a
 *                 failure. After a failure the next begins at the earlier of its hedge and the end of the pause.
 * backoff_ms:     the pause after the first failure; doubled after each further one up to backoff_max_ms, plus or minus
 *                 a fifth at random. When it would end past the deadline there is no further attempt. 0: none.
 * retryable:      1 if an attempt that failed so is worth another (0: the whole thing fails with it); NULL: every
 *                 failure is. Loop thread, also inside uvf_attempt_done. (An attempt without memory for its context
 *                 fails with UV_ENOMEM, its ctx NULL.)
 * budget:         may be NULL; must stay valid until release (done, without one). */
typedef struct uvf_retry_options_s {
  uint64_t attempt_ms;
  uint64_t hedge_ms;
  uint64_t backoff_ms;
  uint64_t backoff_max_ms;
  int (*retryable)(uvf_attempt_t *attempt, int status);
  uvf_retry_budget_t *budget;
} uvf_retry_options_t;

/* The defaults: no limit of its own, no hedge, backoff 100 to 1,000 ms, every failure, no budget. */
UVF_EXTERN void uvf_retry_options_init(uvf_retry_options_t *options);

/* winner: the attempt that succeeded, in done with status 0; NULL otherwise. started, failed: so many attempts were.
 * What it leaves behind (a connection) is better bound to retry->ctx: attempt->ctx keeps the attempt's deadline. */
struct uvf_retry_s {
  UVF_OP_FIELDS
  /* read-only */
  uvf_attempt_t *winner;
  unsigned int started;
  unsigned int failed;
  /* private */
  uvf_attempt_t *uvf__attempts;
  unsigned int uvf__count;
  unsigned int uvf__running;
  int uvf__err;
  uint64_t uvf__pause_ns;
  uint64_t uvf__random;
  uvf_retry_options_t uvf__options;
  uvf__held_t uvf__held;
  uvf_attempt_start_cb uvf__start;
  uvf_retry_cb uvf__done;
  uvf_retry_release_cb uvf__release;
  uvf__timeout_t uvf__timeout;
  void *uvf__first[2];
};

/* At most n attempts, whose memory is the caller's until the last callback; options may be NULL; they are copied. done
 * comes as soon as it is decided, or ctx ends; then the attempts that still run are cancelled (cause UV_ECANCELED;
 * their uvf_attempt_done is still awaited), and release follows when the last of them is done. Without a release
 * callback done waits for that. Either may be NULL. Loop thread; start never runs inside.
 * 0. UV_EINVAL: NULL for ctx, retry, attempts or start; n == 0. Misuse: already started. */
UVF_EXTERN int uvf_retry_start(uvf_ctx_t *ctx, uvf_retry_t *retry, uvf_attempt_t attempts[], unsigned int n,
                               const uvf_retry_options_t *options, uvf_attempt_start_cb start, uvf_retry_cb done,
                               uvf_retry_release_cb release);

/* The attempt has ended: 0 or an error; a 0 counts also when its context is over by now, unlike a task's. Call it when
 * nothing of the attempt is under way any more (its handle closed, its callbacks come): release follows the last one.
 * Loop thread; callbacks follow from the loop. 0. UV_EINVAL: NULL. Misuse: it does not run (UV_EINVAL). */
UVF_EXTERN int uvf_attempt_done(uvf_attempt_t *attempt, int status);

#define uvf_drain_start(...) UVF__AT(uvf_drain_start(__VA_ARGS__))
#define uvf_retry_start(...) UVF__AT(uvf_retry_start(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_SERVE_H */
