/* SPDX-License-Identifier: MIT */
#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static const char *const RED = "\033[31m", *const GREEN = "\033[32m", *const BOLD = "\033[1m", *const PLAIN = "\033[0m";

static const char *colour(const print_t *print, const char *code) { return print->colours ? code : ""; }

void print_begin(print_t *print) {
  const char *no_color = getenv("NO_COLOR");
  print->terminal = uv_guess_handle(1) == UV_TTY;
  print->colours = print->terminal && !(no_color && *no_color);
  if (print->terminal)
    printf("%s%6s  %9s  %10s  %s%s\n", colour(print, BOLD), "status", "bytes", "time", "URL", colour(print, PLAIN));
}

static void format_bytes(char *buf, size_t size, uint64_t bytes) {
  if (bytes < 100000)
    snprintf(buf, size, "%" PRIu64, bytes);
  else if (bytes < UINT64_C(100000000))
    snprintf(buf, size, "%.1fk", (double)bytes / 1e3);
  else
    snprintf(buf, size, "%.1fM", (double)bytes / 1e6);
}

int print_result(const print_t *print, const result_t *result) {
  char status[16] = "-", bytes[32];
  double ms = (double)result->took_ns / 1e6;
  if (result->http_status) snprintf(status, sizeof(status), "%ld", result->http_status);
  if (!print->terminal) {
    printf("%s\t%" PRIu64 "\t%.1f\t%s\t%s\n", status, result->bytes, ms, result->url, result->why);
    return fflush(stdout) ? UV_EIO : 0;
  }
  format_bytes(bytes, sizeof(bytes), result->bytes);
  printf("%s%6s%s  %9s  %7.1f ms  %s", colour(print, result->failed ? RED : GREEN), status, colour(print, PLAIN), bytes,
         ms, result->url);
  if (*result->why) printf("  %s%s%s", colour(print, RED), result->why, colour(print, PLAIN));
  putchar('\n');
  return fflush(stdout) ? UV_EIO : 0;
}
