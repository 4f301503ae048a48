/* SPDX-License-Identifier: MIT
 *
 * What the user asked for: the command line, and lists of URLs from arguments, files and standard input.
 */
#ifndef FANOUT_OPTIONS_H
#define FANOUT_OPTIONS_H

#include "common.h"

/* One question to ask: a URL, or several replicas of which any may answer. */
typedef struct target_s {
  char **urls;
  size_t count;
} target_t;

typedef struct targets_s {
  target_t *list;
  size_t count;
  size_t room;
} targets_t;

typedef struct options_s {
  uint64_t timeout_ms;
  uint64_t per_request_ms; /* 0: no limit but the whole's */
  uint64_t hedge_ms;       /* 0: replicas are asked only after a failure */
  size_t concurrency;      /* at once, after the limit of descriptors was looked at */
  size_t first;            /* 0: every answer is wanted */
  int json;
  int own_backends; /* no URL was given */
  targets_t targets;
} options_t;

enum { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_WRONG };

/* Fills options; OPTIONS_WRONG: stderr says what is wrong and what to do about it. options_free in every case. */
int options_parse(options_t *options, int argc, char **argv);
void options_free(options_t *options);

/* Adds what one line or argument says: URLs separated by '|'. `where` names the place for the message. 0, or -1 (and
 * said why). */
int targets_add(targets_t *targets, const char *text, const char *where);

/* A file of such lines; "-" is standard input. Blank lines and those that begin with '#' are passed over. 0, or -1 (and
 * said why). */
int targets_add_file(targets_t *targets, const char *path);

void targets_free(targets_t *targets);

#endif
