/* SPDX-License-Identifier: MIT
 *
 * Runs a demo as a child process and hands back all that came of it.
 */
#ifndef UVFLOW_TEST_CHILD_H
#define UVFLOW_TEST_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <uv.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A text that grows. Always terminated, once something was added. */
typedef struct text_s {
  char *at;
  size_t len;
  size_t room;
} text_t;

void text_add(text_t *text, const char *data, size_t len);
void text_free(text_t *text);

typedef struct child_s {
  /* in: all but argv may be zero */
  const char *const *argv;  /* argv[0]: the program */
  const char *input;        /* for its standard input; NULL: it has none */
  int hold_output;          /* don't read its standard output: it blocks when the pipe is full */
  const char *interrupt_at; /* send SIGINT once this has appeared on its standard error */
  /* out */
  text_t out, err;
  int64_t exit_status;
  int signal; /* that ended it; 0: none */
  uint64_t took_ns;
  /* private */
  uv_process_t process;
  uv_pipe_t pipes[3];
  uv_write_t write;
  uint64_t began_ns;
  int open; /* handles not closed */
  int interrupted;
} child_t;

/* Starts it; the loop has to be run. */
void child_start(child_t *child, uv_loop_t *loop);

/* Runs the loop until the child has ended and all its output was read. Other handles of the loop go on meanwhile. */
void child_wait(child_t *child, uv_loop_t *loop);

/* Sends SIGINT. */
void child_interrupt(child_t *child);

void child_free(child_t *child);

/* Both at once, on the loop, with arguments that end with NULL. */
#define child_run(child, loop, ...)                                                                                    \
  do {                                                                                                                 \
    const char *const child_argv[] = {__VA_ARGS__, NULL};                                                              \
    (child)->argv = child_argv;                                                                                        \
    child_start(child, loop);                                                                                          \
    child_wait(child, loop);                                                                                           \
  } while (0)

/* Assertions that show the text when they fail. */
void assert_has(const text_t *text, const char *part);
void assert_has_not(const text_t *text, const char *part);

/* How many lines of a text have all the parts given (of which `second` may be NULL). */
size_t count_lines(const text_t *text, const char *first, const char *second);

#endif
