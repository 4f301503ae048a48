/* SPDX-License-Identifier: MIT
 *
 * uvflow/codec.h: pure functions for servers: the deadline and the trace a request brings, and the status it ends with.
 *
 * From a request's headers to its context and back
 * ================================================
 *
 *  at                  | call                                          | with
 *  --------------------+-----------------------------------------------+----------------------------------------------
 *  its first byte      | arrived_ns = uv_hrtime()                      |
 *  its headers         | uvf_grpc_timeout_parse, or                    | incoming_ns; UVF_NO_DEADLINE if there is none
 *                      | uvf_envoy_timeout_parse                       | (or, as you like, if it is malformed)
 *                      | uvf_traceparent_parse                         | trace; uvf_trace_new if there is none
 *  the context         | uvf_budget_ns, uvf_budget_deadline_ns,        | the server's maximum, and a margin in which
 *                      | uvf_ctx_with_deadline                         | the answer can still be written
 *  a call to a backend | uvf_grpc_timeout_format(                      | what is left of it, and a span of its own
 *                      |   uvf_ctx_remaining_ns(ctx)),                 |
 *                      | uvf_traceparent_format, uvf_baggage_copy      |
 *  its end             | uvf_http_status(how it went, uvf_ctx_cause)   | the status of what was done for it
 */
#ifndef UVFLOW_CODEC_H
#define UVFLOW_CODEC_H

#include "base.h"
#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- codecs ----------------------------------------------------------------------------------- */

/* What holds for all of them:
 * - Pure functions: any thread, no state, no lock, nothing allocated, nothing called back.
 * - `text` is the value of a header as an HTTP parser hands it out: `len` bytes, any bytes, not terminated, the blanks
 *   around it gone. Not a byte beyond is read. The grammar is the specification's and no laxer, except where said.
 * - ..._parse: 0, or UV_EINVAL: not of that grammar, or a NULL argument; then the result is untouched.
 * - ..._format: the length written, without the NUL that follows it. UV_ENOBUFS: `size` has no room for that and the
 *   NUL; UV_EINVAL: a NULL argument, or as said. On an error the buffer is untouched.
 * - What format writes, parse takes back, to the same value (times: to one that is not shorter). */

/* A piece of somebody's text: not terminated, not owned, valid as long as that text is. */
typedef struct uvf_text_s {
  const char *base;
  size_t len;
} uvf_text_t;

/* --- codecs: time left ------------------------------------------------------------------------ */

/* `grpc-timeout`, of gRPC over HTTP/2: one to eight digits and a unit: H, M, S, m (ms), u (us) or n (ns). How long the
 * caller will still wait, counted from when it sent that.
 * "0n" and its like, which the specification does not know, are taken: clients of a deadline that has passed send them,
 * and it means just that: 0. More than UINT64_MAX ns, which only hours can be (from 5124096H on): UVF_NO_DEADLINE, as
 * implementations of gRPC turn what they cannot count into their longest time. */
UVF_EXTERN int uvf_grpc_timeout_parse(const char *text, size_t len, uint64_t *timeout_ns);

/* Room for any of them, and the NUL. */
#define UVF_GRPC_TIMEOUT_SIZE 10

/* The shortest text of that time in the finest unit whose eight digits can hold it: exact up to 0.1 s in ns, to 100 s
 * in us, to 27 h in ms ("1S" for 1000000000).
 * What does not fit is rounded up, never down, by less than a hundred-thousandth of it.
 * The caller's own deadline ends its wait in any case, so a hint that is a little long costs the callee a little work
 * at worst; one that is short would fail calls that had time left, and could make of a time that is left none.
 * UVF_NO_DEADLINE: 0, and an empty string: no header is sent. */
UVF_EXTERN int uvf_grpc_timeout_format(uint64_t timeout_ns, char *buf, size_t size);

/* `x-envoy-expected-rq-timeout-ms`, as Envoy sends it to what is behind it: milliseconds, one to twenty digits.
 * "0" is UVF_NO_DEADLINE: to Envoy no time is no limit, and it never sends that for a deadline that has passed. What
 * does not fit a uint64_t of ns: the same. */
UVF_EXTERN int uvf_envoy_timeout_parse(const char *text, size_t len, uint64_t *timeout_ns);

/* Room for any of them, and the NUL. */
#define UVF_ENVOY_TIMEOUT_SIZE 15

/* The time in ms, rounded up for the reason above; and at least "1": a deadline that has passed must not come out as
 * no limit. UVF_NO_DEADLINE: 0, and an empty string: no header is sent. */
UVF_EXTERN int uvf_envoy_timeout_format(uint64_t timeout_ns, char *buf, size_t size);

/* What a request may take: the smaller of what its caller grants and what the server does, less the margin in which
 * an answer still reaches the caller.
 *
 *  incoming | maximum | is
 *  ---------+---------+----------------------------------------------------------------------------------------------
 *  a time   | a time  | min(incoming, maximum) - margin; 0 if the margin is as long or longer: answer at once, with the
 *           |         | status of a deadline (a context of that budget is born over)
 *  none     | a time  | maximum - margin. None, UVF_NO_DEADLINE: no header, or one that says so
 *  a time   | none    | incoming - margin
 *  none     | none    | UVF_NO_DEADLINE, whatever the margin
 *
 * A maximum of 0 is a time like others: it grants nothing. */
UVF_EXTERN uint64_t uvf_budget_ns(uint64_t incoming_ns, uint64_t maximum_ns, uint64_t margin_ns);

/* When a budget that began at from_ns, on uv_hrtime's clock, ends: for uvf_ctx_with_deadline. UVF_NO_DEADLINE if the
 * budget is that, or the sum too far to count. Begin where the request arrived, not where its headers were complete:
 * a client that sends them slowly uses its own time. */
UVF_EXTERN uint64_t uvf_budget_deadline_ns(uint64_t from_ns, uint64_t budget_ns);

/* --- codecs: trace ---------------------------------------------------------------------------- */

enum {
  UVF_TRACE_SAMPLED = 1, /* the caller may have recorded this trace */
  UVF_TRACE_RANDOM = 2   /* the last seven bytes of its id are random (level 2) */
};

/* Where a request stands in its trace. In network order, as the header has them. */
typedef struct uvf_trace_s {
  uint8_t trace_id[16];
  uint8_t span_id[8]; /* parsed: the caller's span, the parent of yours */
  uint8_t flags;      /* of UVF_TRACE_* */
} uvf_trace_t;

/* A trace that begins here: random ids, not zero, UVF_TRACE_RANDOM; and a span for a call. Not pure: they take the
 * system's random numbers (uv_random), which may block for a moment after boot. Any thread.
 * 0. UV_EINVAL: NULL. Or libuv's error. */
UVF_EXTERN int uvf_trace_new(uvf_trace_t *trace);
UVF_EXTERN int uvf_span_new(uint8_t span_id[8]);

/* `traceparent`, of W3C Trace Context, levels 1 and 2: "00-<trace id>-<span id>-<flags>" in lower-case hexadecimal,
 * 55 characters. An id of zeros is invalid, version ff is.
 * A higher version is read as far as this one goes, what follows it must begin with another '-', and of its flags only
 * `sampled` is known to mean the same: the others are dropped, as those that level 2 does not define are of version 00.
 * UV_EINVAL: begin a trace of your own, and ignore `tracestate` too. */
UVF_EXTERN int uvf_traceparent_parse(const char *text, size_t len, uvf_trace_t *trace);

/* Its length, and the NUL. */
#define UVF_TRACEPARENT_SIZE 56

/* The header for a call made on behalf of `trace`: its id and flags (those of UVF_TRACE_*), and the span of that call:
 * span_id, of the caller's making; NULL: trace's own, to pass a request on as it is. Always version 00.
 * UV_EINVAL: an id of zeros. */
UVF_EXTERN int uvf_traceparent_format(const uvf_trace_t *trace, const uint8_t *span_id, char *buf, size_t size);

/* --- codecs: baggage -------------------------------------------------------------------------- */

/* `baggage`, of W3C Baggage: "key=value;property;property=value, key=value ...": what travels with a request through
 * all services. Keys are tokens of HTTP; values are printable ASCII without blanks, quotes, commas, semicolons and
 * backslashes, which stands for UTF-8, percent-encoded. Blanks may stand around each of them.
 * A key may come twice; what that means is between its users, and the order is kept.
 * Several headers of that name: join them by commas, or read one after the other. */

/* The longest text, and the most members in it: as much as the specification ever asks to pass on. */
#define UVF_BAGGAGE_MAX 8192
#define UVF_BAGGAGE_MEMBERS 180

/* A reader of such a text, which must stay where it is. */
typedef struct uvf_baggage_s {
  /* read-only, of the member that uvf_baggage_next returned */
  uvf_text_t member; /* as it was sent, the blanks around it gone; also of a malformed one */
  uvf_text_t key;
  uvf_text_t value; /* as it was sent: uvf_baggage_decode it; may be empty */
  /* private */
  const char *uvf__at; /* where the next member begins; NULL: there is none */
  const char *uvf__end;
  uvf_text_t uvf__properties; /* what is left of the member's */
  uint32_t uvf__members;
  int uvf__err; /* what every further call returns */
} uvf_baggage_t;

/* Begins to read. 0. UV_EINVAL: NULL (text may be, if len is 0: no members). UV_E2BIG: longer than UVF_BAGGAGE_MAX:
 * nothing is read of it. uvf_baggage_next says the same, so this need not be looked at. */
UVF_EXTERN int uvf_baggage_init(uvf_baggage_t *baggage, const char *text, size_t len);

/* Reads one member. 0: it is in key, value and member.
 * UV_EINVAL: this one is malformed (or empty, between two commas): key and value are NULL, its properties none; call
 * again for the next one, or stop if you would rather have all or nothing: the specification leaves the choice. A
 * member is malformed as a whole if one of its properties is, or if a '%' stands before anything but two hexadecimal
 * digits.
 * UV_EOF: that were all. UV_E2BIG: there are more than UVF_BAGGAGE_MEMBERS (malformed ones count), and they are not
 * read. After these two every further call returns the same. baggage is NULL: UV_EINVAL. */
UVF_EXTERN int uvf_baggage_next(uvf_baggage_t *baggage);

/* Reads one property of that member, in order. 0: *key, and *value as it was sent, to decode; its base is NULL if the
 * property has none, and points at nothing if it is empty (";key="). UV_EOF: there is no more. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_baggage_next_property(uvf_baggage_t *baggage, uvf_text_t *key, uvf_text_t *value);

/* What a value means: percent-encoded bytes decoded, terminated. What is then not well-formed UTF-8 is replaced by
 * U+FFFD, one for each run that could not have been continued, as the specification asks. It may contain NULs.
 * Returns its length, never more than value's. UV_EINVAL: not a value. UV_ENOBUFS: the buffer is untouched; value.len +
 * 1 is room enough. UV_E2BIG: longer than UVF_BAGGAGE_MAX. A NULL base with len 0 is empty. */
UVF_EXTERN int uvf_baggage_decode(uvf_text_t value, char *buf, size_t size);

/* Writing: the three below append to the *len bytes that buf holds (0 at first; else what they have written, or a valid
 * header that was copied there), put the commas, count what they wrote into *len, and terminate it.
 * 0. UV_EINVAL: a NULL argument, *len beyond size, or as said. UV_ENOBUFS: no room for it and the NUL.
 * UV_E2BIG: it would be more than UVF_BAGGAGE_MAX bytes or UVF_BAGGAGE_MEMBERS members. On an error nothing changed:
 * leave it out, or send what there is. UVF_BAGGAGE_MAX + 1 is room enough always. */

/* A member. key: a token, terminated. value: UTF-8, value_len bytes (NULL if 0); what may not stand in a header, and
 * the percent sign, is percent-encoded. UV_EINVAL: key is not a token, value is not UTF-8. */
UVF_EXTERN int uvf_baggage_put(char *buf, size_t size, size_t *len, const char *key, const char *value,
                               size_t value_len);

/* A property of the last member. A NULL value: the key alone. UV_EINVAL: as above; there is no member. */
UVF_EXTERN int uvf_baggage_put_property(char *buf, size_t size, size_t *len, const char *key, const char *value,
                                        size_t value_len);

/* The member that uvf_baggage_next returned, properties and all, byte by byte: for passing on all but some.
 * UV_EINVAL: it did not return 0. */
UVF_EXTERN int uvf_baggage_copy(char *buf, size_t size, size_t *len, const uvf_baggage_t *baggage);

/* --- status ----------------------------------------------------------------------------------- */

/* Causes for uvf_ctx_cancel_cause and uvf_ctx_with_deadline_cause that say what the client is told. They are statuses
 * of HTTP; any other from 400 to 599 does as well (429, 413 ...). */
enum {
  UVF_CAUSE_CLIENT_SLOW = 408, /* it has not sent its request in time */
  UVF_CAUSE_CLIENT_LEFT = 499, /* it is gone: for the log only, there is nobody to answer */
  UVF_CAUSE_OVERLOAD = 503     /* too many requests in flight */
};

/* The status of HTTP that a request ends with: err is how it went (0, its context's err, or the error of what was done
 * for it), cause why its context is over (uvf_ctx_cause; 0 while it lives). The first row that fits:
 *
 *  err                         | cause                                    | status
 *  ----------------------------+------------------------------------------+-----------------------------------------
 *  0                           | any                                      | 200: it was done, or yours to say
 *  neither of the two below    | any: err stands in its place, below      |
 *  UV_ECANCELED, UV_ETIMEDOUT  | 400 to 599                               | the cause. 408: close the connection
 *                              |                                          | after it; 499: log it, send nothing
 *                              | UV_ESHUTDOWN (draining, a root closed)   | 503, and send Retry-After
 *                              | UV_EAGAIN, UV_EBUSY, UV_ENOMEM,          | 503, and send Retry-After
 *                              | UV_ENOBUFS, UV_EMFILE, UV_ENFILE         |
 *  UV_ETIMEDOUT                | any other                                | 504
 *  UV_ECANCELED                | UV_ETIMEDOUT                             | 504: a part of it came too late
 *                              | UV_ECANCELED: no cause was given         | 499, as in Go and gRPC, where a bare
 *                              |                                          | cancel of a request is its client's
 *                              |                                          | leaving. Other cancels: give a cause
 *                              | of a peer: UV_ECONNREFUSED, _ECONNRESET, | 502: a backend failed
 *                              | _ECONNABORTED, _EPIPE, _EOF, _EPROTO,    |
 *                              | _ENOTCONN, _EHOSTUNREACH, _EHOSTDOWN,    |
 *                              | _ENETUNREACH, _ENETDOWN, UV_EAI_*        |
 *                              | any other, 0                             | 500
 *
 * A backend's reset and a client's have one error code: so the end of a client's connection cancels its request with
 * UVF_CAUSE_CLIENT_LEFT, not with that code.
 * Pure; any thread. */
UVF_EXTERN int uvf_http_status(int err, int cause);

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_CODEC_H */
