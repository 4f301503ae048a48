/* SPDX-License-Identifier: MIT
 *
 * What the programs of this folder share: checks that are counted and go on, waiting on a loop with a limit, the
 * command line.
 */
#ifndef UVFLOW_TEST_GATEWAY_TABLE_H
#define UVFLOW_TEST_GATEWAY_TABLE_H

#include <stdint.h>
#include <uv.h>

/* Says what is wrong, if `ok` is 0, on standard output among the table's rows; counted. Returns ok. */
int check(int ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Checks that failed so far; the exit status of a program is whether there were any. */
int checks_failed(void);

/* Limits of time grow with this: builds that are slow, such as sanitizers', set UVF_TEST_SLOWDOWN. */
uint64_t patient_ms(uint64_t ms);

/* Runs the loop until *n is 0, or the time is over. Returns 1 if it is. */
int await_zero(uv_loop_t *loop, const int *n, uint64_t limit_ms);

/* Runs the loop that long, whatever happens. */
void pass_time(uv_loop_t *loop, uint64_t ms);

/* Counts of HTTP statuses, by status; 0: what was none. */
enum { STATUSES_MOST = 600 };

/* "200: 17, 504: 3"; text is what is returned. */
const char *describe_statuses(const size_t *by_status, char *text, size_t size);

/* The place of a status in such a count. */
size_t status_index(int status);

/* What a command line may have: "--name value", into a text or a number. A list of them ends with a name of NULL. */
typedef struct option_s {
  const char *name;
  const char **text;
  size_t *number;
} option_t;

/* What a program begins with: ignores SIGPIPE, and reads the command line. Returns -1, or the status to exit with: 0
 * after --help, 2 if something is wrong (said). */
int take_options(char **argv, const char *help, const option_t *options);

#endif
