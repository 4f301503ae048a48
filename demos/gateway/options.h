/* SPDX-License-Identifier: MIT
 *
 * What the user asked for.
 */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_BACKENDS = 32, MOST_TRANSFERS = 128 };

typedef struct options_s {
  const char *host;
  uint64_t port, debug_port;
  uint64_t max_ms, margin_ms;
  uint64_t limit;
  uint64_t not_ready_ms, lame_duck_ms, grace_ms;
  uint64_t max_conns; /* after the limit of descriptors was looked at */
  uint64_t transfers; /* to backends at once, the same */
  uint64_t request_ms, idle_ms, max_body;
  const char *backends; /* as given; NULL: the program's own */
  int quiet;
} options_t;

enum { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_WRONG };

/* Fills options; OPTIONS_WRONG: stderr says what is wrong and what to do about it. */
int options_parse(options_t *options, int argc, char **argv);

#endif
