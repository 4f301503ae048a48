/* SPDX-License-Identifier: MIT
 *
 * uvflow/io.h: libuv's handles, requests and files under a context: waits, DNS, connections, streams, files, and guards
 * that tie what you have to the end of a context.
 *
 * What libuv cannot do, and what happens instead
 * ==============================================
 *
 * libuv has no deadline for any of these, and can take back only what has not begun. So when the context of a request
 * ends, or uvf_op_cancel is called, the caller is told at once, and what libuv still has comes back behind:
 *
 *  request     | is ended early by             | what comes too late
 *  ------------+-------------------------------+---------------------------------------------------------------------
 *  sleep       | stopping its timeout          |
 *  getaddrinfo | uv_cancel, if it is queued    | an address list is freed
 *  connect     | closing the socket            | a connection is closed, nobody has seen it
 *  read        | uv_read_stop                  | nothing: bytes not read stay in the stream, read ones are counted
 *  write,      | nothing, until the stream is  | bytes go on being sent: the stream is cut in the middle of what was
 *  shutdown    | closed                        | written, and should be closed (uvf_guard_close, uvf_stream_close)
 *  files       | uv_cancel, if it is queued    | a descriptor or directory that was opened is closed; what was
 *              |                               | written is written
 *
 * Most have two callbacks, as jobs have:
 *
 *  libuv still has it | release == NULL                           | release != NULL
 *  -------------------+-------------------------------------------+---------------------------------------------------
 *  no                 | done                                      | done, then release
 *  yes                | done(err) when libuv has let go           | done(err) at once; release when libuv has let go
 *
 * The request, and every buffer, path, handle and list given with it, must stay where it is until the last of the
 * callbacks that were given has been entered. After done(err) and before release, libuv may still read or write the
 * buffers. err is the context's err, or UV_ECANCELED for uvf_op_cancel.
 * Either callback may be NULL where the other is not needed. Neither ever runs inside a start.
 *
 * Common to all starts: loop thread of ctx; none blocks; handles must be of the context's loop. The request holds the
 * loop and the context until its last callback. 0: the callbacks will come, also when ctx is already over: then nothing
 * is begun (but a close, which is always carried out). UV_EINVAL: a NULL argument that may not be NULL, a handle of
 * another loop, one that is closing. UV_ENOMEM, and libuv's own errors of the call: nothing happened, no callback
 * comes.
 * Misuse: a request that is already started; the wrong thread.
 */
#ifndef UVFLOW_IO_H
#define UVFLOW_IO_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Private: a request that libuv may have when it is over, and who is reading or writing a stream. */
typedef struct uvf__held_s {
  uint32_t held; /* callbacks that libuv owes us */
  uint32_t told; /* done has been called */
} uvf__held_t;

typedef struct uvf__user_s {
  struct uvf__user_s *next; /* of the same bucket, newest first */
  struct uvf__user_s **prev;
  const uv_handle_t *handle;
  uvf_op_t *op;
  uint32_t kind;
} uvf__user_t;

/* --- sleep ------------------------------------------------------------------------------------ */

typedef struct uvf_sleep_s uvf_sleep_t;

/* Runs on the loop thread, exactly once: 0 when the time is over, else the context's err or UV_ECANCELED. */
typedef void (*uvf_sleep_cb)(uvf_sleep_t *req, int status);

struct uvf_sleep_s {
  UVF_OP_FIELDS
  /* private */
  uvf_sleep_cb uvf__cb;
  uvf__timeout_t uvf__timeout;
};

/* Calls cb timeout_ms milliseconds from now, never early, or when ctx ends. 0: soon. A time too far to be counted in
 * nanoseconds never comes: then only ctx ends it. Costs no uv_timer_t. As a select on time.After and ctx.Done in Go. */
UVF_EXTERN int uvf_sleep_start(uvf_ctx_t *ctx, uvf_sleep_t *req, uint64_t timeout_ms, uvf_sleep_cb cb);

/* --- getaddrinfo ------------------------------------------------------------------------------ */

typedef struct uvf_getaddrinfo_s uvf_getaddrinfo_t;
typedef void (*uvf_getaddrinfo_cb)(uvf_getaddrinfo_t *req, int status);
typedef void (*uvf_getaddrinfo_release_cb)(uvf_getaddrinfo_t *req);

/* addrinfo: the addresses, yours to give to uv_freeaddrinfo, when done was called with 0; NULL otherwise. */
struct uvf_getaddrinfo_s {
  UVF_OP_FIELDS
  /* read-only */
  struct addrinfo *addrinfo;
  /* private */
  uvf__held_t uvf__held;
  uvf_getaddrinfo_cb uvf__done;
  uvf_getaddrinfo_release_cb uvf__release;
  uv_getaddrinfo_t uvf__req;
};

/* Resolves as uv_getaddrinfo: node or service may be NULL, not both; hints may be; all three are copied. Status: 0,
 * UV_EAI_*, the context's err, UV_ECANCELED. A resolver that hangs keeps a thread of libuv's pool, and `release`, until
 * it gives up; done has come long before, if release was given. */
UVF_EXTERN int uvf_getaddrinfo_start(uvf_ctx_t *ctx, uvf_getaddrinfo_t *req, const char *node, const char *service,
                                     const struct addrinfo *hints, uvf_getaddrinfo_cb done,
                                     uvf_getaddrinfo_release_cb release);

/* --- connect ---------------------------------------------------------------------------------- */

typedef struct uvf_connect_s uvf_connect_t;
typedef void (*uvf_connect_cb)(uvf_connect_t *req, int status);
typedef void (*uvf_connect_release_cb)(uvf_connect_t *req);

/* tcp:      the handle that was given.
 * attempts: how many addresses were tried. */
struct uvf_connect_s {
  UVF_OP_FIELDS
  /* read-only */
  uv_tcp_t *tcp;
  unsigned int attempts;
  /* private */
  uint32_t uvf__phase;
  int uvf__err;
  uint64_t uvf__attempt_ms;
  const struct addrinfo *uvf__next_address;
  struct addrinfo *uvf__owned;
  uvf__held_t uvf__held;
  uvf_connect_cb uvf__done;
  uvf_connect_release_cb uvf__release;
  uvf__timeout_t uvf__timeout;
  uvf__user_t uvf__user;
  union {
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
  } uvf__req;
};

/* attempt_ms: how long one address may take; 0: a fair share of the time that is left until the deadline of ctx, and 2
 * s at least if there are as many, as Go's Dialer has it; without a deadline as long as the system tries. family: for
 * uvf_tcp_dial: AF_INET, AF_INET6, or 0 for any. */
typedef struct uvf_connect_options_s {
  uint64_t attempt_ms;
  int family;
} uvf_connect_options_t;

/* Connects to the first of these addresses that answers, one after the other; what is neither IPv4 nor IPv6 is skipped.
 * `tcp` is memory that is no open handle: the library initialises it for each attempt, and keeps tcp->data. When done
 * is called with 0 it is an open, connected handle, and yours (bind it with uvf_guard_start). With any other status it
 * is closed, being closed, or was never opened: its memory is the library's until the last callback. Do not close it
 * yourself before done: uvf_op_cancel the request.
 * `addresses` must stay valid until done has been entered. Options may be NULL.
 * Status: 0; the error of the first address, when all have failed, UV_EADDRNOTAVAIL if there was none to try; the
 * context's err; UV_ECANCELED. An attempt that took too long counts as UV_ETIMEDOUT. */
UVF_EXTERN int uvf_tcp_connect(uvf_ctx_t *ctx, uvf_connect_t *req, uv_tcp_t *tcp, const struct addrinfo *addresses,
                               const uvf_connect_options_t *options, uvf_connect_cb done,
                               uvf_connect_release_cb release);

/* Resolves the name, which is copied, and connects: as Go's Dialer.DialContext (but one address at a time). Status also
 * UV_EAI_*. */
UVF_EXTERN int uvf_tcp_dial(uvf_ctx_t *ctx, uvf_connect_t *req, uv_tcp_t *tcp, const char *node, const char *service,
                            const uvf_connect_options_t *options, uvf_connect_cb done, uvf_connect_release_cb release);

/* --- read ------------------------------------------------------------------------------------- */

typedef struct uvf_read_s uvf_read_t;

/* Runs on the loop thread, exactly once. 0: at least `min` bytes have come. UV_EOF: the stream has ended before.
 * UV_ETIMEDOUT: a limit of this read (req->limit says which), or the context's deadline (req->limit is 0). The
 * context's err, UV_ECANCELED, or the stream's error. Whatever the status, req->nread bytes are in the buffer and gone
 * from the stream: none are lost. */
typedef void (*uvf_read_cb)(uvf_read_t *req, int status);

enum { UVF_READ_IDLE = 1, UVF_READ_TOTAL = 2 };

/* min:      it is done when that many bytes are there, or the buffer is full; 0 means 1.
 * idle_ms:  no byte may take longer than that after the one before (the first: after the start); 0: no limit.
 * total_ms: the whole read may not; 0: no limit. For a whole conversation use the deadline of the context. */
typedef struct uvf_read_limits_s {
  size_t min;
  uint64_t idle_ms;
  uint64_t total_ms;
} uvf_read_limits_t;

struct uvf_read_s {
  UVF_OP_FIELDS
  /* read-only */
  size_t nread;
  int limit;
  /* private */
  char *uvf__buf;
  size_t uvf__len;
  size_t uvf__min;
  uint64_t uvf__idle_ms;
  uint64_t uvf__idle_from_ns;
  uvf_read_cb uvf__cb;
  uvf__user_t uvf__user;
  uvf__timeout_t uvf__idle;
  uvf__timeout_t uvf__total;
};

/* Reads once from a connected stream into buf, at most len bytes. limits may be NULL; they are copied. One read at a
 * time on a stream: UV_EALREADY, also while it is read with uv_read_start. Between two reads nothing is read: a peer
 * that is too fast is held up.
 * The stream must not be closed under a pending read, of which libuv tells nobody: close it through its guard or with
 * uvf_stream_close, which end the read with UV_ECANCELED; or cancel the read first.
 * UV_EINVAL: also len == 0, min > len. UV_ENOTCONN: not a readable stream. As Go's io.ReadAtLeast with a deadline.
 * Not for a console on Windows, where libuv keeps the buffer after the end of the read. */
UVF_EXTERN int uvf_read_start(uvf_ctx_t *ctx, uvf_read_t *req, uv_stream_t *stream, void *buf, size_t len,
                              const uvf_read_limits_t *limits, uvf_read_cb cb);

/* uv_close for a stream that may be read under a context: the pending read, if there is one, ends with UV_ECANCELED;
 * pending writes end as libuv ends them, with UV_ECANCELED. A stream that is closing already: nothing. NULL: nothing.
 * Loop thread: on another one it does nothing (and stops a debug build). close_cb may be NULL, and does not run
 * inside. */
UVF_EXTERN void uvf_stream_close(uv_stream_t *stream, uv_close_cb close_cb);

/* --- write ------------------------------------------------------------------------------------ */

typedef struct uvf_write_s uvf_write_t;
typedef void (*uvf_write_cb)(uvf_write_t *req, int status);
typedef void (*uvf_write_release_cb)(uvf_write_t *req);

/* nwritten: how many bytes the system has taken. In done: all of them if the status is 0; else those that had gone when
 *           the request ended, or by the time of done: exact if it was ended by its context, uvf_op_cancel or a close,
 *           and what is queued behind it on this stream was written by this library too; if the stream itself broke, or
 *           somebody else queued, at most too small. In release it is final: bytes may have gone meanwhile (all of
 *           them, if libuv was done with it; if it failed or the stream was closed, those that had gone when libuv last
 *           said so). */
struct uvf_write_s {
  UVF_OP_FIELDS
  /* read-only */
  size_t nwritten;
  /* private */
  size_t uvf__len;
  size_t uvf__queued;
  size_t uvf__end;
  uv_stream_t *uvf__stream;
  uvf__held_t uvf__held;
  uvf_write_cb uvf__done;
  uvf_write_release_cb uvf__release;
  uvf__user_t uvf__user;
  uv_write_t uvf__req;
};

/* Writes all of it, behind what was written before. The array is copied, what it points at is not. When the request
 * ends early part of it may have been sent, and libuv goes on sending: close the stream; then release comes at once.
 * Without a release callback done waits for that: give one, or bind the stream to the same context with a guard, whose
 * end then closes it. UV_EPIPE, UV_EBADF: not a writable stream. UV_EINVAL: also nbufs == 0.
 * As with uv_write, a program that writes to peers ignores SIGPIPE. */
UVF_EXTERN int uvf_write_start(uvf_ctx_t *ctx, uvf_write_t *req, uv_stream_t *stream, const uv_buf_t bufs[],
                               unsigned int nbufs, uvf_write_cb done, uvf_write_release_cb release);

typedef struct uvf_shutdown_s uvf_shutdown_t;
typedef void (*uvf_shutdown_cb)(uvf_shutdown_t *req, int status);
typedef void (*uvf_shutdown_release_cb)(uvf_shutdown_t *req);

struct uvf_shutdown_s {
  UVF_OP_FIELDS
  /* private */
  uvf__held_t uvf__held;
  uvf_shutdown_cb uvf__done;
  uvf_shutdown_release_cb uvf__release;
  uv_shutdown_t uvf__req;
};

/* Ends the writing side, behind pending writes, as uv_shutdown. Early end: as a write. UV_ENOTCONN: not a writable
 * stream, or shut down before. */
UVF_EXTERN int uvf_shutdown_start(uvf_ctx_t *ctx, uvf_shutdown_t *req, uv_stream_t *stream, uvf_shutdown_cb done,
                                  uvf_shutdown_release_cb release);

/* --- files ------------------------------------------------------------------------------------ */

typedef struct uvf_fs_s uvf_fs_t;
typedef void (*uvf_fs_cb)(uvf_fs_t *req, int status);
typedef void (*uvf_fs_release_cb)(uvf_fs_t *req);

/* result: with status 0: the descriptor (open), the bytes (read, write), the entries (readdir), 0 (others). In release:
 *         what the call came to in the end, libuv's result or code, also when done had been told something else
 *         (UV_ECANCELED: it was never begun): the honest account of a write that was given up.
 * statbuf, dir: of stat and opendir with status 0.
 * Late results are thrown away before release: a descriptor is closed, a directory too, names are freed. */
struct uvf_fs_s {
  UVF_OP_FIELDS
  /* read-only */
  int64_t result;
  uv_dir_t *dir;
  uv_stat_t statbuf;
  /* private */
  uint32_t uvf__kind;
  uv_dirent_t *uvf__entries;
  uv_file uvf__file;
  uint32_t uvf__close_file;
  uvf__user_t uvf__user;
  uvf__held_t uvf__held;
  uvf_fs_cb uvf__done;
  uvf_fs_release_cb uvf__release;
  uv_fs_t uvf__req;
};

/* Each as libuv's function of that name, which runs on the pool. Paths are copied. */
UVF_EXTERN int uvf_fs_open(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, int flags, int mode, uvf_fs_cb done,
                           uvf_fs_release_cb release);

/* offset -1: at, and moving, the file's position. The array is copied, the buffers are libuv's until the last callback.
 * UV_EINVAL: also nbufs == 0. */
UVF_EXTERN int uvf_fs_read(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs,
                           int64_t offset, uvf_fs_cb done, uvf_fs_release_cb release);
UVF_EXTERN int uvf_fs_write(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs,
                            int64_t offset, uvf_fs_cb done, uvf_fs_release_cb release);

UVF_EXTERN int uvf_fs_stat(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, uvf_fs_cb done, uvf_fs_release_cb release);
UVF_EXTERN int uvf_fs_fstat(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, uvf_fs_cb done, uvf_fs_release_cb release);

/* Closes the descriptor in any case: also when ctx is over, or ends meanwhile (the status says so; it is closed all the
 * same). It is the library's as soon as this has returned 0, and must not be in use. */
UVF_EXTERN int uvf_fs_close(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, uvf_fs_cb done, uvf_fs_release_cb release);

/* req->dir: to read, and to close with uvf_fs_closedir. */
UVF_EXTERN int uvf_fs_opendir(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, uvf_fs_cb done,
                              uvf_fs_release_cb release);

/* The next entries of the directory, at most n, into entries; req->result: how many, 0 at the end. Their names are the
 * request's until uvf_fs_cleanup, which every readdir that has given some needs. One at a time on a directory: it must
 * neither be read nor closed while libuv still has a request for it. */
UVF_EXTERN int uvf_fs_readdir(uvf_ctx_t *ctx, uvf_fs_t *req, uv_dir_t *dir, uv_dirent_t entries[], size_t n,
                              uvf_fs_cb done, uvf_fs_release_cb release);

/* As uvf_fs_close. */
UVF_EXTERN int uvf_fs_closedir(uvf_ctx_t *ctx, uvf_fs_t *req, uv_dir_t *dir, uvf_fs_cb done, uvf_fs_release_cb release);

/* Frees the names of a readdir. Of any other request that is over, and the second time: nothing. NULL: nothing. */
UVF_EXTERN void uvf_fs_cleanup(uvf_fs_t *req);

/* --- guard: the handle tree ------------------------------------------------------------------- */

/* A guard binds one thing to a context: the end of the context closes the handle, cancels the request, closes the
 * descriptor, or calls the release function. The things of a subtree go children's before parents', within one context
 * the last bound first, each exactly once, and behind the completions that were already due.
 *
 * A guard takes its place among the operations of its context, newest first: what was started after the handle was
 * bound is answered before it is closed. Except jobs, and requests of this header, that cannot be answered yet: one
 * that libuv or the pool still has, without a release callback, is answered later, perhaps after the handle was closed.
 * Where one struct serves both, count who still needs it.
 *
 * A guard does not hold the loop, but it holds the context's memory. Closing the root ends everything that is bound,
 * and waits for the handles; after the root's close callback none is open. */
typedef struct uvf_guard_s uvf_guard_t;

/* Releases whatever it stands for: called on the loop thread, once, guard->status the err of the context (0: by
 * uvf_guard_close). The guard is unbound by then and may be freed or started again inside. */
typedef void (*uvf_guard_cb)(uvf_guard_t *guard);

/* A guard; the caller's memory, commonly beside what it guards in one struct. Valid until uvf_guard_stop or
 * uvf_guard_close returned 0, or the thing was released: for a handle, until the close callback given at start has been
 * entered. `status` is the err of the context that did it. The library does not use handle->data; the guard has a
 * `data` of its own. */
struct uvf_guard_s {
  UVF_OP_FIELDS
  /* private */
  union {
    uv_handle_t *handle;
    uv_req_t *req;
    uv_file file;
  } uvf__of;
  union {
    uv_close_cb close;
    uvf_guard_cb call;
  } uvf__cb;
};

/* Binds handle to ctx: when ctx ends, the library calls uv_close(handle, close_cb). `close_cb` may be NULL and is
 * called by libuv with the bare handle. When ctx is already over the handle is closed soon, not inside this call. A
 * uvf_read_start that is pending on it, under whichever context, ends with UV_ECANCELED if nothing ended it before.
 * The handle must not be closed by hand while it is bound: call uvf_guard_stop first, or uvf_guard_close. (If it was,
 * it is not closed again; but the guard stays bound, and must stay valid, until the context ends.) Loop thread; the
 * handle must be of the context's loop. Does not block.
 * 0: bound. UV_EINVAL: a NULL argument but close_cb, a handle of another loop, or one that is closing.
 * Misuse: a guard already bound. */
UVF_EXTERN int uvf_guard_start(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_handle_t *handle, uv_close_cb close_cb);

/* Binds a request of libuv that you have started yourself: when ctx ends, the library calls uv_cancel(req), which takes
 * it back if it is still queued for the pool (its callback then says UV_ECANCELED), and does nothing if it runs. Stop
 * the guard in the request's callback, before its memory goes. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_guard_start_req(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_req_t *req);

/* Binds an open descriptor: when ctx ends it is closed, on the loop thread (which a network file system can hold up:
 * then use uvf_guard_start_call with uvf_fs_close). It is closed behind the last of this loop's uvf_fs_* requests that
 * libuv still has on it, so that none finds another file under its number. uv_fs_* requests of your own are not known:
 * count those yourself. UV_EINVAL: NULL, a negative file. */
UVF_EXTERN int uvf_guard_start_file(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_file file);

/* Binds anything: when ctx ends, release is called. As a defer at the end of the context. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_guard_start_call(uvf_ctx_t *ctx, uvf_guard_t *guard, uvf_guard_cb release);

/* Unbinds: from now on the handle (or request, descriptor, thing) is the caller's alone, and the guard's memory too.
 * 0: unbound. UV_EBUSY: it is not bound any more: the context has released it (close_cb came or will come), or it
 * was stopped or closed through the guard before (then nothing more happens). UV_EINVAL: NULL.
 * Loop thread. Does not block. Works also when ctx has ended but the release was still due. The guard must have been
 * started at least once, or be zeroed. */
UVF_EXTERN int uvf_guard_stop(uvf_guard_t *guard);

/* Unbinds and releases now: closes the handle with the close callback given at start (a pending uvf_read_start on it
 * ends with UV_ECANCELED), cancels the request, closes the descriptor (or leaves that to the last request that uses
 * it), or calls the release function, inside this call.
 * 0: done. UV_EBUSY, UV_EINVAL: as above, and nothing happened. Loop thread. close_cb does not run inside. */
UVF_EXTERN int uvf_guard_close(uvf_guard_t *guard);

#define uvf_sleep_start(...) UVF__AT(uvf_sleep_start(__VA_ARGS__))
#define uvf_getaddrinfo_start(...) UVF__AT(uvf_getaddrinfo_start(__VA_ARGS__))
#define uvf_tcp_connect(...) UVF__AT(uvf_tcp_connect(__VA_ARGS__))
#define uvf_tcp_dial(...) UVF__AT(uvf_tcp_dial(__VA_ARGS__))
#define uvf_read_start(...) UVF__AT(uvf_read_start(__VA_ARGS__))
#define uvf_write_start(...) UVF__AT(uvf_write_start(__VA_ARGS__))
#define uvf_shutdown_start(...) UVF__AT(uvf_shutdown_start(__VA_ARGS__))
#define uvf_fs_open(...) UVF__AT(uvf_fs_open(__VA_ARGS__))
#define uvf_fs_read(...) UVF__AT(uvf_fs_read(__VA_ARGS__))
#define uvf_fs_write(...) UVF__AT(uvf_fs_write(__VA_ARGS__))
#define uvf_fs_stat(...) UVF__AT(uvf_fs_stat(__VA_ARGS__))
#define uvf_fs_fstat(...) UVF__AT(uvf_fs_fstat(__VA_ARGS__))
#define uvf_fs_close(...) UVF__AT(uvf_fs_close(__VA_ARGS__))
#define uvf_fs_opendir(...) UVF__AT(uvf_fs_opendir(__VA_ARGS__))
#define uvf_fs_readdir(...) UVF__AT(uvf_fs_readdir(__VA_ARGS__))
#define uvf_fs_closedir(...) UVF__AT(uvf_fs_closedir(__VA_ARGS__))
#define uvf_guard_start(...) UVF__AT(uvf_guard_start(__VA_ARGS__))
#define uvf_guard_start_req(...) UVF__AT(uvf_guard_start_req(__VA_ARGS__))
#define uvf_guard_start_file(...) UVF__AT(uvf_guard_start_file(__VA_ARGS__))
#define uvf_guard_start_call(...) UVF__AT(uvf_guard_start_call(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_IO_H */
