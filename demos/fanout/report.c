/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdlib.h>
#include <string.h>

enum { URL_WIDTH_MOST = 56, BAR_WIDTH = 20, URL_TAIL = 16 };

/* How the table is drawn: one set for terminals, one for files and pipes. */
typedef struct look_s {
  const char *const *colours; /* by outcome */
  const char *bold, *dim, *plain;
  const char *bar, *hedge;
} look_t;

static const char *const NAMES[OUTCOME_COUNT] = {"pending", "ok", "hedged", "failed", "deadline", "cancelled"};
static const char *const COLOURS[OUTCOME_COUNT] = {"", "\033[32m", "\033[36m", "\033[31m", "\033[33m", "\033[35m"};
static const char *const NO_COLOURS[OUTCOME_COUNT] = {"", "", "", "", "", ""};

const char *outcome_name(outcome_t outcome) { return NAMES[outcome]; }

static int is_utf8(void) {
  static const char *const VARIABLES[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof(VARIABLES) / sizeof(VARIABLES[0]); i++) {
    const char *value = getenv(VARIABLES[i]);
    if (value && *value) return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8");
  }
  return 0;
}

static look_t choose_look(void) {
  look_t look = {NO_COLOURS, "", "", "", "=", "+"};
  if (uv_guess_handle(1) != UV_TTY) return look;
  if (is_utf8()) {
    look.bar = "\342\224\201";   /* a heavy horizontal line */
    look.hedge = "\342\225\213"; /* the same, crossed */
  }
  const char *no_color = getenv("NO_COLOR");
  if (no_color && *no_color) return look;
  look.colours = COLOURS;
  look.bold = "\033[1m";
  look.dim = "\033[2m";
  look.plain = "\033[0m";
  return look;
}

/* --- cells --------------------------------------------------------------------------------------------------- */

static const char *shown_url(const request_t *request) {
  return request->url ? request->url : request->target->urls[0];
}

static int url_width(const fan_t *fan) {
  size_t width = 3;
  for (size_t i = 0; i < fan->count; i++) {
    size_t len = strlen(shown_url(&fan->requests[i]));
    if (len > width) width = len;
  }
  return width > URL_WIDTH_MOST ? URL_WIDTH_MOST : (int)width;
}

/* A URL that is too long loses its middle: hosts and last parts tell more. */
static void print_url(const char *url, int width) {
  int len = (int)strlen(url);
  if (len <= width)
    printf("%-*s", width, url);
  else
    printf("%.*s...%s", width - URL_TAIL - 3, url, url + len - URL_TAIL);
}

static void format_ns(char *buf, size_t size, uint64_t ns) {
  double ms = (double)ns / 1e6;
  if (ms < 9.95)
    snprintf(buf, size, "%.1f ms", ms);
  else if (ms < 9999.5)
    snprintf(buf, size, "%.0f ms", ms);
  else
    snprintf(buf, size, "%.1f s", ms / 1e3);
}

static void format_bytes(char *buf, size_t size, uint64_t bytes) {
  if (bytes < 100000)
    snprintf(buf, size, "%llu", (unsigned long long)bytes);
  else if (bytes < UINT64_C(100000000))
    snprintf(buf, size, "%.0fk", (double)bytes / 1e3);
  else
    snprintf(buf, size, "%.0fM", (double)bytes / 1e6);
}

static int column(const fan_t *fan, uint64_t ns) {
  uint64_t whole = fan->ended_ns - fan->began_ns;
  if (ns <= fan->began_ns || !whole) return 0;
  uint64_t at = (ns - fan->began_ns) * BAR_WIDTH / whole;
  return at >= BAR_WIDTH ? BAR_WIDTH - 1 : (int)at;
}

/* When it ran, on the time axis of the run, with a mark where its second replica was asked. */
static void print_bar(const fan_t *fan, const request_t *request, const look_t *look) {
  int from = BAR_WIDTH, to = -1, hedge = -1;
  if (request->began_ns && request->ended_ns) {
    from = column(fan, request->began_ns);
    to = column(fan, request->ended_ns);
    if (request->hedged_ns && request->hedged_ns < request->ended_ns) hedge = column(fan, request->hedged_ns);
  }
  fputs(look->colours[request->outcome], stdout);
  int width = *request->note ? BAR_WIDTH : to + 1; /* no blanks at the end of a line */
  for (int i = 0; i < width; i++) {
    if (i < from || i > to)
      putchar(' ');
    else
      fputs(i == hedge ? look->hedge : look->bar, stdout);
  }
  fputs(look->plain, stdout);
}

/* --- rows ---------------------------------------------------------------------------------------------------- */

static void print_row(const fan_t *fan, const request_t *request, const look_t *look, int width) {
  char http[16] = "-", bytes[24], took[32] = "-";
  if (request->http_status) snprintf(http, sizeof(http), "%ld", request->http_status);
  format_bytes(bytes, sizeof(bytes), request->bytes);
  if (request->began_ns && request->ended_ns) format_ns(took, sizeof(took), request->ended_ns - request->began_ns);
  print_url(shown_url(request), width);
  printf("  %s%-9s%s  %4s  %6s  %7s  ", look->colours[request->outcome], NAMES[request->outcome], look->plain, http,
         bytes, took);
  print_bar(fan, request, look);
  if (*request->note) printf("  %s%s%s", look->dim, request->note, look->plain);
  putchar('\n');
}

static void print_totals(const fan_t *fan, const look_t *look) {
  static const outcome_t ORDER[] = {OUTCOME_OK, OUTCOME_HEDGED, OUTCOME_FAILED, OUTCOME_DEADLINE, OUTCOME_CANCELLED};
  uint64_t bytes = 0;
  char text[32];
  for (size_t i = 0; i < fan->count; i++) bytes += fan->requests[i].bytes;
  printf("\n%zu request%s:", fan->count, fan->count == 1 ? "" : "s");
  const char *comma = " ";
  for (size_t i = 0; i < sizeof(ORDER) / sizeof(ORDER[0]); i++) {
    size_t n = fan->outcomes[ORDER[i]];
    if (!n) continue;
    printf("%s%s%zu %s%s", comma, look->colours[ORDER[i]], n, NAMES[ORDER[i]], look->plain);
    comma = ", ";
  }
  format_ns(text, sizeof(text), fan->ended_ns - fan->began_ns);
  printf("; %llu bytes in %s\n", (unsigned long long)bytes, text);
  printf("ended: %s%s%s\n", look->bold, fan->why, look->plain);
}

void report_table(const fan_t *fan) {
  look_t look = choose_look();
  int width = url_width(fan);
  char total[32];
  format_ns(total, sizeof(total), fan->ended_ns - fan->began_ns);
  printf("%s%-*s  %-9s  %4s  %6s  %7s  0%*s%s\n", look.bold, width, "URL", "outcome", "HTTP", "bytes", "time",
         BAR_WIDTH - 1, total, look.plain);
  for (size_t i = 0; i < fan->count; i++) print_row(fan, &fan->requests[i], &look, width);
  print_totals(fan, &look);
}
