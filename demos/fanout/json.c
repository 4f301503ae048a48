/* SPDX-License-Identifier: MIT */
#include "report.h"

/* URLs and notes hold ASCII only: see wrong_with() in targets.c. A byte that is not would make the document invalid, so
 * none passes. */
static void print_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < 0x20 || c >= 0x7f)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

static void print_ms(const char *name, uint64_t from_ns, uint64_t to_ns) {
  if (from_ns && to_ns)
    printf("\"%s\":%.3f", name, (double)(to_ns - from_ns) / 1e6);
  else
    printf("\"%s\":null", name);
}

static void print_request(const fan_t *fan, const request_t *request) {
  printf("{\"replicas\":[");
  for (size_t i = 0; i < request->target->count; i++) {
    if (i) putchar(',');
    print_string(request->target->urls[i]);
  }
  printf("],\"url\":");
  if (request->url)
    print_string(request->url);
  else
    printf("null");
  printf(",\"outcome\":\"%s\",\"http_status\":", outcome_name(request->outcome));
  if (request->http_status)
    printf("%ld", request->http_status);
  else
    printf("null");
  printf(",\"bytes\":%llu,\"attempts\":%zu,", (unsigned long long)request->bytes, request->asked);
  print_ms("began_ms", fan->began_ns, request->began_ns);
  putchar(',');
  print_ms("time_ms", request->began_ns, request->ended_ns);
  printf(",\"note\":");
  print_string(request->note);
  putchar('}');
}

void report_json(const fan_t *fan) {
  printf("{\"requests\":[");
  for (size_t i = 0; i < fan->count; i++) {
    printf(i ? ",\n" : "\n");
    print_request(fan, &fan->requests[i]);
  }
  printf("],\n\"totals\":{\"requests\":%zu", fan->count);
  for (int i = OUTCOME_OK; i < OUTCOME_COUNT; i++) printf(",\"%s\":%zu", outcome_name((outcome_t)i), fan->outcomes[i]);
  printf("},\n");
  print_ms("time_ms", fan->began_ns, fan->ended_ns);
  printf(",\n\"ended\":{\"cause\":%d,\"why\":", fan->cause);
  print_string(fan->why);
  printf("}}\n");
}
