/* SPDX-License-Identifier: MIT
 *
 * What the demos of pipelines print, taken apart.
 */
#ifndef UVFLOW_TEST_FLOW_OUTPUT_H
#define UVFLOW_TEST_FLOW_OUTPUT_H

#include "child.h"

/* A row of the table that --stats prints. */
typedef struct table_row_s {
  uint64_t in, out, done, failed, dropped, retried;
} table_row_t;

/* The row of that stage; asserts that there is one. */
void table_row(const text_t *text, const char *stage, table_row_t *row);

/* Puts # for the digits behind every "queue ": the default may change. */
void hide_queues(text_t *text);

/* The program and its arguments in an array that ends with NULL. */
#define RUN_ARGV(world, args)                                                                                          \
  do {                                                                                                                 \
    (world)->child.argv = (args);                                                                                      \
    child_start(&(world)->child, &(world)->loop);                                                                      \
    child_wait(&(world)->child, &(world)->loop);                                                                       \
  } while (0)

#endif
