/* SPDX-License-Identifier: MIT
 *
 * The fan-out: many requests under one context.
 *
 *   root                                  the program
 *     run         deadline of the whole     cancelled when it is decided: all answered, enough answered, Ctrl-C
 *       request   deadline per request      cancelled by its first good answer: that ends the losing replicas
 *         attempt one replica               a transfer
 *
 * Whatever ends a node of this tree ends all below it. Nothing here closes, removes or counts on any other path.
 */
#ifndef FANOUT_FAN_H
#define FANOUT_FAN_H

#include "http.h"
#include "options.h"

typedef enum outcome_e {
  OUTCOME_PENDING,
  OUTCOME_OK,
  OUTCOME_HEDGED,
  OUTCOME_FAILED,
  OUTCOME_DEADLINE,
  OUTCOME_CANCELLED,
  OUTCOME_COUNT
} outcome_t;

/* Codes of causes, beside UV_E*: why a run or a request is over. Each comes with a text. */
enum {
  CAUSE_ALL_ANSWERED = 1,
  CAUSE_ENOUGH,
  CAUSE_INTERRUPTED,
  CAUSE_WHOLE_DEADLINE,
  CAUSE_REQUEST_DEADLINE,
  CAUSE_WON
};

typedef struct fan_s fan_t;
typedef struct request_s request_t;

/* One replica that was asked. Freed in its callback. */
typedef struct attempt_s {
  http_get_t get;
  uvf_ctx_t *ctx;
  struct curl_slist *headers;
  request_t *request;
  const char *url;
  size_t number; /* 0: the first */
} attempt_t;

struct request_s {
  fan_t *fan;
  const target_t *target;
  uvf_ctx_t *ctx; /* NULL before it has begun and after its last attempt */
  uv_timer_t hedge_timer;
  uvf_guard_t hedge_guard;
  size_t asked;   /* attempts begun */
  size_t running; /* of them, not ended */
  /* the result */
  outcome_t outcome;
  const char *url; /* the replica that answered, or the last that failed; NULL: neither came */
  long http_status;
  uint64_t bytes;
  uint64_t began_ns;  /* 0: never */
  uint64_t hedged_ns; /* when the second replica was asked; 0: never */
  uint64_t ended_ns;
  char note[96]; /* why, when it is not ok */
};

typedef void (*fan_done_cb)(fan_t *fan);

struct fan_s {
  const options_t *options;
  http_t *http;
  uvf_ctx_t *ctx;
  uvf_watch_t watch;
  fan_done_cb cb;
  request_t *requests; /* one for each target, in their order */
  size_t count;
  size_t next; /* the first that has not begun */
  size_t running;
  size_t ended;
  size_t outcomes[OUTCOME_COUNT];
  uint64_t began_ns;
  uint64_t ended_ns;
  int cause;
  const char *why;
  char deadline_text[64], request_text[64], enough_text[64];
};

/* Starts the requests under a child of parent. 0, or UV_E* and nothing was started. cb comes when every one of them has
 * its outcome and no transfer is left: then http may be closed. Memory: fan_free, once the loop has ended. */
int fan_start(fan_t *fan, uvf_ctx_t *parent, http_t *http, const options_t *options, uint64_t began_ns, fan_done_cb cb);
void fan_free(fan_t *fan);

/* Cancels what is under way. */
void fan_cancel(fan_t *fan, int cause, char *why);

/* 1 if all answers that were asked for are there. */
int fan_succeeded(const fan_t *fan);

#endif
