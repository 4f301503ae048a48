/* SPDX-License-Identifier: MIT
 *
 * A request: from h2o's hands to the answer.
 */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include "conn.h"

/* What runs for a request and may outlive it: its memory is its own. First member of what a route starts. */
typedef struct task_s {
  request_t *request; /* NULL: h2o has let go of it, the client is gone */
} task_t;

/* Its memory is the request's in h2o, which disposes of it when the answer has been sent or the client is gone. */
struct request_s {
  h2o_req_t *req;
  server_t *server;
  conn_t *conn;
  const route_t *route;
  uvf_ctx_t *ctx; /* until it is answered */
  int status;     /* it was answered with; 0: not yet */
  /* of request.c */
  uvf_drain_request_t entry;
  uint64_t began_ns;
  task_t *task;
};

/* h2o's handler of all paths. */
int request_on_req(server_t *server, h2o_req_t *req);

/* Answers it, once. `body` is copied. Unless that is done inside its route's start, the memory of the request may be
 * gone afterwards. */
void request_answer(request_t *request, int status, const char *type, const char *body, size_t len);

/* The type of what is no JSON. */
extern const char TYPE_TEXT[];

/* The same with a line of text. */
void request_answer_text(request_t *request, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Answers with the status that goes with an error and the cause of its context's end. */
void request_fail(request_t *request, int err);

/* Allocates what runs for it, size bytes that begin with a task_t, zeroed. NULL: it was answered with 503. */
void *request_task(request_t *request, size_t size);

/* The end of it: the request to be answered, or NULL if there is none any more. The memory is the caller's again. */
request_t *request_task_over(task_t *task);

/* A number of the query: 0 and *number, which is left alone if there is none of that name; -1: not a number in
 * that range, and answered with 400. */
int request_number(request_t *request, const char *name, uint64_t min, uint64_t max, uint64_t *number);

#endif
