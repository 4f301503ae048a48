/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed;

int check(int ok, const char *format, ...) {
  if (ok) return ok;
  va_list args;
  va_start(args, format);
  printf("FAILED: ");
  vprintf(format, args);
  printf("\n");
  va_end(args);
  fflush(stdout);
  failed++;
  return ok;
}

int checks_failed(void) { return failed; }

uint64_t patient_ms(uint64_t ms) { return ms * UVF_TEST_SLOWDOWN; }

static void on_time(uv_timer_t *timer) { (void)timer; /* it has woken the loop: that is all */ }

static void on_timer_closed(uv_handle_t *handle) { *(int *)handle->data = 1; }

int await_zero(uv_loop_t *loop, const int *n, uint64_t limit_ms) {
  uint64_t until = uv_hrtime() + limit_ms * 1000000;
  uv_timer_t timer;
  int closed = 0;
  if (uv_timer_init(loop, &timer)) abort();
  timer.data = &closed;
  uv_update_time(loop);
  uv_timer_start(&timer, on_time, limit_ms + 1, 0);
  while (*n && uv_hrtime() < until) uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, on_timer_closed);
  while (!closed) uv_run(loop, UV_RUN_ONCE);
  return *n == 0;
}

void pass_time(uv_loop_t *loop, uint64_t ms) {
  static const int never = 1;
  await_zero(loop, &never, ms);
}

size_t status_index(int status) { return status > 0 && status < STATUSES_MOST ? (size_t)status : 0; }

const char *describe_statuses(const size_t *by_status, char *text, size_t size) {
  size_t len = 0;
  text[0] = '\0';
  for (int status = 0; status < STATUSES_MOST && len + 1 < size; status++)
    if (by_status[status])
      len += (size_t)snprintf(text + len, size - len, "%s%d: %zu", len ? ", " : "", status, by_status[status]);
  return text;
}

static int take_option(const option_t *option, const char *value) {
  char *value_end = NULL;
  if (!value) return 0;
  if (option->text) {
    *option->text = value;
    return 1;
  }
  *option->number = strtoull(value, &value_end, 10);
  return *value >= '0' && *value <= '9' && !*value_end;
}

int take_options(char **argv, const char *help, const option_t *options) {
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN); /* whoever writes to a connection that was reset sees it by the error */
#endif
  for (char **at = argv + 1; *at; at += 2) {
    if (strcmp(*at, "--help") == 0) {
      fputs(help, stdout);
      return 0;
    }
    const option_t *option = options;
    while (option->name && strcmp(option->name, *at) != 0) option++;
    if (!option->name || !take_option(option, at[1])) {
      fprintf(stderr, "%s: '%s' is unknown, or has no value, or a wrong one; --help shows what there is\n", argv[0],
              *at);
      return 2;
    }
  }
  return -1;
}
