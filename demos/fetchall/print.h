/* SPDX-License-Identifier: MIT
 *
 * Results, one a line: a table on a terminal; elsewhere fields with tabs between them: HTTP status, bytes,
 * milliseconds, URL and, if it failed, why.
 */
#ifndef FETCHALL_PRINT_H
#define FETCHALL_PRINT_H

#include <stdint.h>

typedef struct print_s {
  int terminal, colours;
} print_t;

typedef struct result_s {
  const char *url;
  long http_status; /* 0: none came */
  uint64_t bytes, took_ns;
  int failed;
  const char *why; /* "": the status says it */
} result_t;

void print_begin(print_t *print);

/* At once, so that a reader at the other end of a pipe need not wait. 0, or UV_EIO. */
int print_result(const print_t *print, const result_t *result);

#endif
