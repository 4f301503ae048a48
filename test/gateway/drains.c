/* SPDX-License-Identifier: MIT
 *
 * drains: what each client of a gateway sees while it ends: after one signal, past the grace period, after two signals,
 * and when it cannot even start.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"
#include "subject.h"
#include "table.h"

static const char HELP[] = "Usage: drains --gateway PROGRAM\n"
                           "Ends gateways with clients in several states, and checks what those see.\n";

enum { LIMIT_MS = 20000 };

static const char *gateway;

/* --- clients in a state --------------------------------------------------------------------------------------- */

typedef struct guest_s {
  client_t client;
  const char *path; /* NULL: it asks nothing */
  int status;       /* of the last answer */
  int says_close;   /* that answer had Connection: close */
  int err;          /* how the connection ended */
  int open;
} guest_t;

static void on_guest_open(client_t *client) {
  guest_t *guest = client->data;
  if (guest->path) wire_print(&client->wire, "GET %s HTTP/1.1\r\nHost: gateway\r\n\r\n", guest->path);
}

static void on_guest_answer(client_t *client, const answer_t *answer) {
  guest_t *guest = client->data;
  guest->status = answer->status;
  guest->says_close = answer->last;
}

static void on_guest_end(client_t *client, int err) {
  guest_t *guest = client->data;
  guest->err = err;
  guest->open = 0;
}

static void come(guest_t *guest, uv_loop_t *loop, int port, const char *path) {
  memset(guest, 0, sizeof(*guest));
  guest->path = path;
  guest->open = 1;
  guest->client.data = guest;
  guest->client.on_open = on_guest_open;
  guest->client.on_answer = on_guest_answer;
  guest->client.on_end = on_guest_end;
  client_open(&guest->client, loop, port);
}

/* It must have been answered so, and the connection closed by the gateway. */
static void check_guest(uv_loop_t *loop, guest_t *guest, const char *who, int status) {
  if (!check(await_zero(loop, &guest->open, patient_ms(LIMIT_MS)), "%s: the connection stays open", who)) {
    wire_close(&guest->client.wire);
    while (guest->open) uv_run(loop, UV_RUN_ONCE);
  }
  check(guest->status == status, "%s: status %d, not %d", who, guest->status, status);
  check(guest->err == UV_EOF, "%s: the connection ended by %s", who, uv_strerror(guest->err));
  check(!status || guest->says_close, "%s: the answer does not say Connection: close", who);
  printf("  %-52s  status %3d, then %s\n", who, guest->status, uv_err_name(guest->err));
}

typedef struct h2_guest_s {
  h2_t h2;
  int status;
  int open;
} h2_guest_t;

static void on_h2_guest_open(h2_t *h2) { h2_get(h2, "/slow?ms=700", ""); }

static void on_h2_guest_stream(h2_t *h2, int stream, int status, size_t body_len, int err) {
  h2_guest_t *guest = h2->data;
  (void)stream;
  (void)body_len;
  (void)err;
  guest->status = status;
}

static void on_h2_guest_end(h2_t *h2, int err) {
  h2_guest_t *guest = h2->data;
  (void)err;
  guest->open = 0;
}

/* --- one signal ----------------------------------------------------------------------------------------------- */

/* Until /healthz says 503; then what else is asked is served still, and later refused at the door. */
static void look_at_lame_duck(subject_t *subject) {
  exchange_t x;
  uint64_t until = uv_hrtime() + patient_ms(LIMIT_MS) * 1000000;
  int status;
  do {
    status = get(&x, subject->loop, subject->port, "/healthz", "");
    exchange_free(&x);
  } while (status == 200 && uv_hrtime() < until);
  check(status == 503, "/healthz while draining: status %d", status);
  status = get(&x, subject->loop, subject->port, "/slow?ms=1", "");
  check(status == 200, "/slow while it still accepts: status %d", status);
  exchange_free(&x);
  do {
    status = get(&x, subject->loop, subject->port, "/healthz", "");
    exchange_free(&x);
  } while (status == 503 && uv_hrtime() < until);
  check(status == 0, "after the lame duck: status %d on a new connection", status);
  printf("  %-52s  200, then 503, then no connection (%s)\n", "a balancer that asks /healthz", uv_err_name(x.err));
}

static void one_signal(uv_loop_t *loop) {
  static const char *const arguments[] = {"--max-ms", "100000", "--lame-duck-ms", "500", "--grace-ms", "20000", NULL};
  static guest_t idle, silent, slow, work;
  static h2_guest_t h2;
  subject_t subject;
  printf("one SIGTERM\n");
  if (!subject_start(&subject, loop, gateway, 0, arguments)) return;
  come(&idle, loop, subject.port, "/healthz");
  come(&silent, loop, subject.port, NULL);
  come(&slow, loop, subject.port, "/slow?ms=1500");
  come(&work, loop, subject.port, "/work?ms=1500");
  memset(&h2, 0, sizeof(h2));
  h2.open = 1;
  h2.h2.data = &h2;
  h2.h2.on_open = on_h2_guest_open;
  h2.h2.on_stream = on_h2_guest_stream;
  h2.h2.on_end = on_h2_guest_end;
  h2_open(&h2.h2, loop, subject.port);
  subject_await(&subject, "before", "connections", 5, 5);
  subject_await(&subject, "before", "in_flight", 3, 3);
  check(idle.status == 200, "/healthz before: status %d", idle.status);
  idle.status = 0;
  subject_signal(&subject, SIGTERM);
  look_at_lame_duck(&subject);
  check_guest(loop, &idle, "a connection that has nothing under way", 0);
  check_guest(loop, &silent, "a connection that never asked", 0);
  check_guest(loop, &slow, "/slow under way", 200);
  check_guest(loop, &work, "/work under way", 200);
  check(await_zero(loop, &h2.open, patient_ms(LIMIT_MS)), "HTTP/2: the connection stays open");
  check(h2.status == 200, "HTTP/2: /slow under way: status %d", h2.status);
  check(h2.h2.goaway, "HTTP/2: no GOAWAY");
  printf("  %-52s  status %3d%s\n", "/slow under way, HTTP/2", h2.status, h2.h2.goaway ? ", and GOAWAY" : "");
  subject_wait(&subject, "one signal", patient_ms(LIMIT_MS));
  printf("  the gateway: begun %zu, answered %zu, cut %zu, exit status %lld\n", subject.begun, subject.answered,
         subject.cut, (long long)subject.exit_status);
}

/* --- past the grace period ------------------------------------------------------------------------------------ */

static void past_the_grace(uv_loop_t *loop) {
  static const char *const arguments[] = {"--max-ms", "100000", "--lame-duck-ms", "0", "--grace-ms", "200", NULL};
  static guest_t slow, work, fan, half;
  subject_t subject;
  printf("a grace period of 200 ms\n");
  if (!subject_start(&subject, loop, gateway, 0, arguments)) return;
  subject.wanted_cut = 3;
  come(&slow, loop, subject.port, "/slow?ms=60000");
  come(&work, loop, subject.port, "/work?ms=60000");
  come(&fan, loop, subject.port, "/fan?n=3&ms=60000");
  come(&half, loop, subject.port, NULL); /* half a request: nothing that could be answered */
  subject_await(&subject, "before", "in_flight", 3, 3);
  subject_await(&subject, "before", "connections", 4, 4);
  wire_print(&half.client.wire, "GET /slow?ms=1 HTTP/1.1\r\nHost:");
  subject_signal(&subject, SIGTERM);
  check_guest(loop, &slow, "/slow that would take a minute", 503);
  check_guest(loop, &work, "/work that would take a minute", 503);
  check_guest(loop, &fan, "/fan that would take a minute", 503);
  await_zero(loop, &half.open, patient_ms(LIMIT_MS));
  check(!half.open && !half.status, "half a request: %s, status %d", half.open ? "still open" : "closed", half.status);
  subject_wait(&subject, "past the grace period", patient_ms(LIMIT_MS));
  printf("  the gateway: begun %zu, answered %zu, cut %zu, exit status %lld\n", subject.begun, subject.answered,
         subject.cut, (long long)subject.exit_status);
}

/* --- two signals, and no start -------------------------------------------------------------------------------- */

static void two_signals(uv_loop_t *loop) {
  static const char *const arguments[] = {"--max-ms", "100000", "--grace-ms", "100000", NULL};
  static guest_t slow;
  subject_t subject;
  if (!subject_start(&subject, loop, gateway, 0, arguments)) return;
  subject.wanted_exit = 128 + SIGTERM;
  come(&slow, loop, subject.port, "/slow?ms=60000");
  subject_await(&subject, "before", "in_flight", 1, 1);
  subject_signal(&subject, SIGTERM);
  uint64_t until = uv_hrtime() + patient_ms(LIMIT_MS) * 1000000;
  while (!strstr(subject.child.out.at, "drain ") && uv_hrtime() < until) pass_time(loop, 2);
  subject_signal(&subject, SIGTERM);
  subject_wait(&subject, "two signals", patient_ms(LIMIT_MS));
  await_zero(loop, &slow.open, patient_ms(LIMIT_MS));
  printf("two SIGTERMs\n  the gateway: exit status %lld\n", (long long)subject.exit_status);
}

/* The port of one that runs is taken: the second one must say so, and end both its servers. */
static void taken_port(uv_loop_t *loop, const char *option) {
  child_t child;
  subject_t subject;
  char port[16];
  if (!subject_start(&subject, loop, gateway, 0, NULL)) return;
  snprintf(port, sizeof(port), "%d", subject.port);
  memset(&child, 0, sizeof(child));
  child_run(&child, loop, gateway, option, port);
  check(child.exit_status == 1 && !child.signal, "%s that is taken: exit status %lld, signal %d", option,
        (long long)child.exit_status, child.signal);
  check(child.err.len > 0 && strstr(child.err.at, port), "%s that is taken: the message does not name it: %s", option,
        child.err.at ? child.err.at : "");
  printf("%s that is taken\n  exit status %lld: %s", option, (long long)child.exit_status,
         child.err.at ? child.err.at : "\n");
  child_free(&child);
  subject_stop(&subject, option);
}

int main(int argc, char **argv) {
  const option_t options[] = {{"--gateway", &gateway, NULL}, {NULL, NULL, NULL}};
  uv_loop_t loop;
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0 || !gateway) return status >= 0 ? status : 2;
  if (uv_loop_init(&loop)) abort();
  one_signal(&loop);
  past_the_grace(&loop);
  two_signals(&loop);
  taken_port(&loop, "--port");
  taken_port(&loop, "--debug-port");
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  printf("%d checks failed\n", checks_failed());
  return checks_failed() > 0;
}
