/* SPDX-License-Identifier: MIT
 *
 * statuses: one request after the other, and the status each must be answered with: methods, paths, and deadlines of
 * every kind a client may send, most of them malformed. The same over HTTP/1.1 and, where it has no body, HTTP/2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"
#include "subject.h"
#include "table.h"

static const char HELP[] = "Usage: statuses --gateway PROGRAM\n"
                           "Asks a gateway all that has a status of its own, and checks that.\n";

#define ENVOY "x-envoy-expected-rq-timeout-ms: "

static const struct {
  const char *what;
  const char *line;    /* method and path */
  const char *headers; /* lower case, for HTTP/2 */
  int status;
  const char *part; /* of the body */
  uint64_t least_ms, most_ms;
} CASES[] = {
    {"healthz", "GET /healthz", "", 200, "ok\n", 0, 0},
    {"slow", "GET /slow?ms=20", "", 200, "slept 20 ms\n", 20, 0},
    {"work", "GET /work?ms=20", "", 200, "worked 20 ms\n", 20, 0},
    {"fan", "GET /fan?n=3&ms=5", "", 200, "\"ok\":3", 5, 0},
    {"no such path", "GET /nothing", "", 404, "", 0, 0},
    {"a path that only begins like one", "GET /healthzz", "", 404, "", 0, 0},
    {"another method", "DELETE /slow", "", 405, "", 0, 0},
    {"another method", "GET /echo", "", 200, "0\n", 0, 0},
    {"ms is no number", "GET /slow?ms=abc", "", 400, "ms: 'abc'", 0, 0},
    {"ms is negative", "GET /slow?ms=-1", "", 400, "ms: '-1'", 0, 0},
    {"ms is empty", "GET /slow?ms=", "", 400, "ms: ''", 0, 0},
    {"ms is too large", "GET /slow?ms=99999999999999999999", "", 400, "ms: '9999", 0, 0},
    {"n is 0", "GET /fan?n=0", "", 400, "n: '0'", 0, 0},
    {"n is too large", "GET /fan?n=33", "", 400, "n: '33'", 0, 0},
    {"the server's own deadline", "GET /slow?ms=60000", "", 504, "deadline", 300, 5000},
    {"grpc-timeout", "GET /slow?ms=60000", "grpc-timeout: 100m\r\n", 504, "deadline", 60, 5000},
    {"grpc-timeout, work", "GET /work?ms=60000", "grpc-timeout: 100m\r\n", 504, "deadline", 60, 5000},
    {"grpc-timeout, fan", "GET /fan?ms=60000", "grpc-timeout: 100m\r\n", 504, "\"backends\"", 60, 5000},
    {"grpc-timeout in time", "GET /slow?ms=20", "grpc-timeout: 700m\r\n", 200, "slept", 20, 0},
    {"grpc-timeout shorter than the margin", "GET /slow?ms=0", "grpc-timeout: 5m\r\n", 504, "deadline", 0, 2000},
    {"grpc-timeout 0", "GET /slow?ms=60000", "grpc-timeout: 0m\r\n", 504, "deadline", 0, 2000},
    {"grpc-timeout 0, healthz", "GET /slow?ms=0", "grpc-timeout: 0n\r\n", 504, "deadline", 0, 2000},
    {"grpc-timeout negative", "GET /slow?ms=1", "grpc-timeout: -5m\r\n", 400, "grpc-timeout: '-5m'", 0, 0},
    {"grpc-timeout 8 digits", "GET /slow?ms=1", "grpc-timeout: 99999999H\r\n", 200, "slept", 0, 0},
    {"grpc-timeout 9 digits", "GET /slow?ms=1", "grpc-timeout: 999999999S\r\n", 400, "grpc-timeout: '", 0, 0},
    {"grpc-timeout 10^18", "GET /slow?ms=1", "grpc-timeout: 1000000000000000000m\r\n", 400, "grpc-timeout: '", 0, 0},
    {"grpc-timeout without a unit", "GET /slow?ms=1", "grpc-timeout: 100\r\n", 400, "grpc-timeout: '100'", 0, 0},
    {"grpc-timeout with a fraction", "GET /slow?ms=1", "grpc-timeout: 1.5S\r\n", 400, "grpc-timeout: '1.5S'", 0, 0},
    {"grpc-timeout junk", "GET /slow?ms=1", "grpc-timeout: \x01\x7f%n%s\r\n", 400, "", 0, 0},
    {"grpc-timeout empty", "GET /slow?ms=1", "grpc-timeout: \r\n", 400, "grpc-timeout: ''", 0, 0},
    {"envoy", "GET /slow?ms=60000", ENVOY "100\r\n", 504, "deadline", 60, 5000},
    {"envoy 0 is no limit", "GET /slow?ms=20", ENVOY "0\r\n", 200, "slept", 20, 0},
    {"envoy negative", "GET /slow?ms=1", ENVOY "-1\r\n", 400, "x-envoy-expected-rq-timeout-ms: '-1'", 0, 0},
    {"envoy 10^18", "GET /slow?ms=1", ENVOY "1000000000000000000\r\n", 200, "slept", 0, 0},
    {"envoy 21 digits", "GET /slow?ms=1", ENVOY "100000000000000000000\r\n", 400, "x-envoy", 0, 0},
    {"envoy with a unit", "GET /slow?ms=1", ENVOY "100m\r\n", 400, "x-envoy", 0, 0},
    {"envoy junk", "GET /slow?ms=1", ENVOY "soon\r\n", 400, "x-envoy", 0, 0},
    {"both: the smaller", "GET /slow?ms=60000", "grpc-timeout: 1H\r\n" ENVOY "100\r\n", 504, "deadline", 60, 5000},
    {"both: the smaller", "GET /slow?ms=60000", ENVOY "100000\r\ngrpc-timeout: 100m\r\n", 504, "deadline", 60, 5000},
    {"both: one is malformed", "GET /slow?ms=1", "grpc-timeout: 1H\r\n" ENVOY "x\r\n", 400, "x-envoy", 0, 0},
    {"twice: the smaller", "GET /slow?ms=60000", "grpc-timeout: 1H\r\ngrpc-timeout: 100m\r\n", 504, "deadline", 60,
     5000},
    {"twice: one is malformed", "GET /slow?ms=1", "grpc-timeout: 1H\r\ngrpc-timeout: 1h\r\n", 400, "grpc-timeout", 0,
     0},
    {"traceparent malformed", "GET /slow?ms=1", "traceparent: 00-zz\r\n", 200, "slept", 0, 0},
    {"baggage malformed", "GET /slow?ms=1", "baggage: =,;,%%%\r\n", 200, "slept", 0, 0},
};

enum { N_CASES = sizeof(CASES) / sizeof(CASES[0]) };

static void check_time(const char *who, uint64_t took_ns, size_t i) {
  uint64_t took_ms = took_ns / 1000000;
  check(took_ms >= CASES[i].least_ms, "%s: answered after %llu ms, before %llu", who, (unsigned long long)took_ms,
        (unsigned long long)CASES[i].least_ms);
  check(!CASES[i].most_ms || took_ms <= patient_ms(CASES[i].most_ms), "%s: answered after %llu ms only", who,
        (unsigned long long)took_ms);
}

/* --- HTTP/1.1 ------------------------------------------------------------------------------------------------- */

static void ask_http1(subject_t *subject, size_t i, size_t *by_status) {
  char request[1024], who[128];
  exchange_t x;
  snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: gateway\r\n%s\r\n", CASES[i].line, CASES[i].headers);
  snprintf(who, sizeof(who), "HTTP/1.1, %s (%s)", CASES[i].what, CASES[i].line);
  exchange(&x, subject->loop, subject->port, request, patient_ms(20000));
  by_status[status_index(x.status)]++;
  check(x.status == CASES[i].status, "%s: status %d (%s), not %d: %.200s", who, x.status,
        x.err ? uv_strerror(x.err) : "", CASES[i].status, x.body.at ? x.body.at : "");
  check(strstr(x.body.at ? x.body.at : "", CASES[i].part) != NULL, "%s: no \"%s\" in the answer: %.200s", who,
        CASES[i].part, x.body.at ? x.body.at : "");
  check_time(who, x.took_ns, i);
  char allow[64];
  if (x.status == 405) check(head_value(x.head, "allow", allow, sizeof(allow)) != NULL, "%s: no header Allow", who);
  exchange_free(&x);
}

/* --- HTTP/2 --------------------------------------------------------------------------------------------------- */

typedef struct asker_s {
  h2_t h2;
  size_t *by_status;
  int waiting; /* streams; -1 and the handle after that */
  int open;
  uint64_t began_ns;
} asker_t;

/* One stream for each case, in the order of the table, all at once. */
static void on_h2_open(h2_t *h2) {
  asker_t *asker = h2->data;
  asker->began_ns = uv_hrtime();
  for (size_t i = 0; i < N_CASES; i++) {
    if (strncmp(CASES[i].line, "GET ", 4) == 0)
      h2_get(h2, CASES[i].line + 4, CASES[i].headers);
    else
      h2_get(h2, "/healthz", "");
    asker->waiting++;
  }
}

static void on_h2_stream(h2_t *h2, int stream, int status, size_t body_len, int err) {
  asker_t *asker = h2->data;
  size_t i = (size_t)(stream - 1) / 2;
  int is_get = strncmp(CASES[i].line, "GET ", 4) == 0, wanted = is_get ? CASES[i].status : 200;
  char who[128];
  (void)body_len;
  snprintf(who, sizeof(who), "HTTP/2, %s (%s)", CASES[i].what, CASES[i].line);
  asker->by_status[status_index(status)]++;
  check(status == wanted, "%s: status %d (%s), not %d", who, status, err ? uv_strerror(err) : "", wanted);
  check_time(who, uv_hrtime() - asker->began_ns, i);
  if (--asker->waiting == 0) wire_close(&h2->wire);
}

static void on_h2_end(h2_t *h2, int err) {
  asker_t *asker = h2->data;
  check(asker->waiting == 0, "HTTP/2: the connection ended (%s) with %d streams not answered", uv_strerror(err),
        asker->waiting);
  asker->open = 0;
}

static void ask_http2(subject_t *subject, size_t *by_status) {
  asker_t asker;
  memset(&asker, 0, sizeof(asker));
  asker.by_status = by_status;
  asker.open = 1;
  asker.h2.on_open = on_h2_open;
  asker.h2.on_stream = on_h2_stream;
  asker.h2.on_end = on_h2_end;
  asker.h2.data = &asker;
  h2_open(&asker.h2, subject->loop, subject->port);
  if (!check(await_zero(subject->loop, &asker.open, patient_ms(20000)), "HTTP/2: %d streams get no answer",
             asker.waiting)) {
    wire_close(&asker.h2.wire);
    while (asker.open) uv_run(subject->loop, UV_RUN_ONCE);
  }
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static void print_row(const char *who, const size_t *by_status) {
  char text[256];
  size_t answered = 0;
  for (int status = 1; status < STATUSES_MOST; status++) answered += by_status[status];
  printf("%-24s sent %d, answered %zu: %s\n", who, N_CASES, answered, describe_statuses(by_status, text, sizeof(text)));
}

int main(int argc, char **argv) {
  const char *gateway = NULL;
  const option_t options[] = {{"--gateway", &gateway, NULL}, {NULL, NULL, NULL}};
  static const char *const arguments[] = {"--max-ms", "400", "--lame-duck-ms", "0", NULL};
  static size_t by_http1[STATUSES_MOST], by_http2[STATUSES_MOST];
  uv_loop_t loop;
  subject_t subject;
  char rest[128];
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0 || !gateway) return status >= 0 ? status : 2;
  if (uv_loop_init(&loop)) abort();
  if (!subject_start(&subject, &loop, gateway, 0, arguments)) return 1;
  for (size_t i = 0; i < N_CASES; i++) ask_http1(&subject, i, by_http1);
  ask_http2(&subject, by_http2);
  print_row("one by one, HTTP/1.1:", by_http1);
  print_row("all at once, HTTP/2:", by_http2);
  subject_check_at_rest(&subject, "statuses", rest, sizeof(rest));
  printf("afterwards: %s\n", rest);
  subject_stop(&subject, "statuses");
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  printf("%d checks failed\n", checks_failed());
  return checks_failed() > 0;
}
