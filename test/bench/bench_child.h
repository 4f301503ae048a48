/* SPDX-License-Identifier: MIT
 *
 * Child processes that write lines: peers, and this program once more. Their standard error is ours.
 */
#ifndef UVFLOW_BENCH_CHILD_H
#define UVFLOW_BENCH_CHILD_H

#include <stddef.h>

typedef struct bench_child_s bench_child_t;

/* args: without the program's name, ended by NULL. size: of what it may have written and nobody has read. A program that
 * cannot be run is said so on standard error, and ends with 127. */
bench_child_t *bench_child_start(const char *program, const char *const *args, size_t size);
/* To its standard input. Not 0: it does not read any more. */
int bench_child_say(bench_child_t *run, const char *text);
/* Waits for a line and copies it, without its end. Not 0: there is none. */
int bench_child_line(bench_child_t *run, char *line, size_t size);
/* Ends its input and waits for its end. Returns its exit status, or 128 and the signal that has ended it. */
int bench_child_end(bench_child_t *run);

#endif
