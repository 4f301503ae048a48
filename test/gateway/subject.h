/* SPDX-License-Identifier: MIT
 *
 * The gateway under test, as a child: started, asked for its counters and contexts, its descriptors counted, stopped.
 */
#ifndef UVFLOW_TEST_GATEWAY_SUBJECT_H
#define UVFLOW_TEST_GATEWAY_SUBJECT_H

#include "client.h"

enum { SUBJECT_OPTIONS = 24 };

typedef struct subject_s {
  /* in, after subject_start: what its end is checked against */
  int64_t wanted_exit;
  size_t wanted_cut;
  const size_t *kept; /* connections to backends outside that may stay open at rest; NULL: none */
  /* read-only */
  int port, debug_port;
  size_t begun_before; /* requests that subject_start has made */
  /* of its last line and its end, after subject_stop */
  size_t begun, answered, cut, lost;
  int64_t exit_status; /* -1: it had to be killed; 128 + n: signal n ended it */
  uint64_t stop_ns;    /* from the signal to the end */
  /* private */
  uv_loop_t *loop;
  child_t child;
  const char *argv[SUBJECT_OPTIONS];
  char limit[16];
  exchange_t counters;
  long descriptors;
  long contexts;
} subject_t;

/* Starts the program with options that end with NULL; descriptors: its `ulimit -n`, 0 for as many as we may have.
 * Returns 1 when it listens; 0 (and a failed check) if it doesn't. Notes what it holds at rest. */
int subject_start(subject_t *subject, uv_loop_t *loop, const char *program, int descriptors,
                  const char *const *options);

/* Reads /counters; then the value of one of them, -1 if it is not there. */
int subject_look(subject_t *subject);
long long subject_count(const subject_t *subject, const char *name);

/* Waits until a counter is from least to most, which must be soon: checked. */
void subject_await(subject_t *subject, const char *who, const char *name, long long least, long long most);

/* Waits until it holds no more than at rest: nothing in flight, no connection, as many contexts and descriptors as
 * before. Checks it, and writes what there is: "in flight 0, connections 0, contexts +0, descriptors +0". Connections
 * to backends are kept for the next time, and don't count: neither those to its own ones, which /contexts shows, nor
 * `kept`. */
void subject_check_at_rest(subject_t *subject, const char *who, char *text, size_t size);

/* Sends a signal; doesn't wait. */
void subject_signal(subject_t *subject, int signum);

/* Waits for the end after a signal, which must come within that time and with the exit status that is wanted (0, if
 * nothing else was said); with status 0 also begun == answered, none lost, and none cut but those wanted. All checked.
 * Frees everything. */
void subject_wait(subject_t *subject, const char *who, uint64_t limit_ms);

/* Both, with SIGTERM. */
void subject_stop(subject_t *subject, const char *who);

#endif
