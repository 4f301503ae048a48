/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"
#include "support.h"

enum { FLOOD_DESCRIPTORS = 256, DEAF_REQUESTS = 20000 };

/* A request may take 300 ms to arrive; a connection may be idle for 500. */
static const char *const SHORT[] = {"--request-ms", "300", "--lame-duck-ms", "0", NULL};
static const char *const IDLE[] = {"--request-ms", "300", "--idle-ms", "500", "--lame-duck-ms", "0", NULL};

/* --- swarms --------------------------------------------------------------------------------------------------- */

static void add(scene_t *scene, swarm_t *swarm) {
  scene->answered += swarm->answers;
  scene->closed += swarm->closed;
  for (size_t status = 0; status < STATUSES_MOST; status++) scene->by_status[status] += swarm->by_status[status];
  swarm_free(swarm);
}

void leave(scene_t *scene, swarm_t *swarm, int reset) {
  swarm_leave(swarm, reset);
  while (swarm->open) uv_run(scene->loop, UV_RUN_ONCE);
  add(scene, swarm);
}

void await_closed(scene_t *scene, swarm_t *swarm) {
  check(await_zero(scene->loop, &swarm->open, closed_ms(scene)), "%s: %zu of %zu connections are closed, after %llu ms",
        scene->who, swarm->closed, swarm->n, (unsigned long long)closed_ms(scene));
  check(swarm->closed == swarm->n, "%s: closed were %zu of %zu, and %zu not opened", scene->who, swarm->closed,
        swarm->n, swarm->not_opened);
  leave(scene, swarm, 0);
}

static void begin(scene_t *scene, swarm_t *swarm, size_t n, uint64_t tick_ms, void (*on_open)(member_t *),
                  void (*on_tick)(member_t *)) {
  memset(swarm, 0, sizeof(*swarm));
  swarm->port = scene->subject.port;
  swarm->n = n;
  swarm->tick_ms = tick_ms;
  swarm->on_open = on_open;
  swarm->on_tick = on_tick;
  swarm->data = scene;
  swarm_start(swarm, scene->loop);
}

static void say(member_t *member, const char *text) { wire_send(&member->client.wire, text, strlen(text)); }

static void expect_all(scene_t *scene, int status) {
  check(scene->by_status[status] == scene->sent, "%s: of %zu, %zu were answered %d", scene->who, scene->sent,
        scene->by_status[status], status);
}

/* --- slow ones ------------------------------------------------------------------------------------------------ */

static const char SLOW_REQUEST[] = "GET /slow?ms=1 HTTP/1.1\r\nHost: gateway\r\nX-Padding: "
                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                   "aaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n";

/* The next byte; a limit that began anew with each would never come. */
static void drip(member_t *member) {
  if (member->step < sizeof(SLOW_REQUEST)) wire_send(&member->client.wire, SLOW_REQUEST + member->step - 1, 1);
}

static void slow_headers(scene_t *scene) {
  swarm_t swarm;
  scene->sent = scene->full ? 200 : 50;
  begin(scene, &swarm, scene->sent, scene->full ? 1000 : 60, NULL, drip);
  await_closed(scene, &swarm);
  expect_all(scene, 408);
}

static void send_head_of_body(member_t *member) {
  say(member, "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n");
}

static void no_body(scene_t *scene) {
  swarm_t swarm;
  scene->sent = scene->full ? 200 : 50;
  begin(scene, &swarm, scene->sent, 100, send_head_of_body, NULL);
  await_closed(scene, &swarm);
  expect_all(scene, 408);
}

static void drip_body(member_t *member) {
  if (member->step < 500) say(member, "b");
}

static void slow_body(scene_t *scene) {
  swarm_t swarm;
  scene->sent = scene->full ? 200 : 50;
  begin(scene, &swarm, scene->sent, scene->full ? 1000 : 60, send_head_of_body, drip_body);
  await_closed(scene, &swarm);
  expect_all(scene, 408);
}

static void no_request(scene_t *scene) {
  swarm_t swarm;
  scene->sent = scene->full ? 200 : 50;
  begin(scene, &swarm, scene->sent, 100, NULL, NULL);
  await_closed(scene, &swarm);
}

/* --- many ----------------------------------------------------------------------------------------------------- */

/* More idle connections than it has descriptors: it must close the oldest ones, and never stop to accept. */
static void idle_flood(scene_t *scene) {
  swarm_t swarm;
  subject_t *subject = &scene->subject;
  long long most = 0;
  scene->sent = scene->full ? 10000 : 1200;
  memset(&swarm, 0, sizeof(swarm));
  swarm.port = subject->port;
  swarm.n = scene->sent;
  swarm.at_once = 25; /* the backlog of the kernel is not what is tested */
  swarm.tick_ms = 5;
  swarm_start(&swarm, scene->loop);
  uint64_t until = uv_hrtime() + patient_ms(scene->full ? 60000 : 20000) * MS_NS;
  while (swarm.opened + swarm.not_opened < swarm.n && uv_hrtime() < until) {
    if (subject_look(subject) && subject_count(subject, "connections") > most)
      most = subject_count(subject, "connections");
    pass_time(scene->loop, 20);
  }
  subject_await(&scene->subject, scene->who, "accepted", (long long)swarm.opened, LLONG_MAX);
  snprintf(scene->note, sizeof(scene->note),
           "connected %zu of %zu; the gateway (ulimit -n %d): open at most %lld, evicted %lld, accept errors %lld",
           swarm.opened, swarm.n, FLOOD_DESCRIPTORS, most, subject_count(subject, "evicted"),
           subject_count(subject, "accept_errors"));
  check(swarm.opened == swarm.n, "%s: %zu of %zu could connect", scene->who, swarm.opened, swarm.n);
  check(most > 0 && most < FLOOD_DESCRIPTORS, "%s: %lld connections at once", scene->who, most);
  leave(scene, &swarm, 0);
}

static void pipeline_slow(member_t *member) {
  for (int i = 0; i < 20; i++) say(member, "GET /slow?ms=5 HTTP/1.1\r\nHost: gateway\r\n\r\n");
}

/* Those that wait for their answers get all of them; the others are gone. */
static void pipelined(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 50 * 20;
  begin(scene, &swarm, 50, 100, pipeline_slow, NULL);
  uint64_t until = uv_hrtime() + closed_ms(scene) * MS_NS;
  while (swarm.answers < scene->sent && uv_hrtime() < until) pass_time(scene->loop, 5);
  leave(scene, &swarm, 0);
  expect_all(scene, 200);
}

static void pipeline_and_go(member_t *member) {
  for (int i = 0; i < 20; i++) say(member, "GET /slow?ms=60000 HTTP/1.1\r\nHost: gateway\r\n\r\n");
}

static void pipelined_closed(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 100 * 20;
  begin(scene, &swarm, 100, 100, pipeline_and_go, NULL);
  subject_await(&scene->subject, scene->who, "in_flight", 100, LLONG_MAX);
  leave(scene, &swarm, 0);
  subject_await(&scene->subject, scene->who, "status_499", 100, LLONG_MAX);
}

/* --- gone in the middle --------------------------------------------------------------------------------------- */

static void send_a_part(member_t *member) {
  static const char *const PARTS[] = {
      "GET /slow?ms=60000 HTTP/1.1\r\nHos",
      "GET /slow?ms=60000 HTTP/1.1\r\nHost: gateway\r\n\r\n",
      "GET /work?ms=60000 HTTP/1.1\r\nHost: gateway\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\nsome of it",
      "GET /fan?n=5&ms=60000 HTTP/1.1\r\nHost: gateway\r\n\r\n",
  };
  say(member, PARTS[member->index % ARRAY_SIZE(PARTS)]);
}

static void reset(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 150;
  begin(scene, &swarm, scene->sent, 100, send_a_part, NULL);
  subject_await(&scene->subject, scene->who, "in_flight", 90,
                LLONG_MAX); /* three of the five parts are whole requests */
  leave(scene, &swarm, 1);
  subject_await(&scene->subject, scene->who, "status_499", 90, 90);
}

static void ask_and_listen_not(member_t *member) {
  wire_pause(&member->client.wire);
  for (int i = 0; i < DEAF_REQUESTS; i++) say(member, "GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n");
}

/* The answers fill the buffers of both kernels, and wait. */
static void deaf(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 10 * DEAF_REQUESTS;
  begin(scene, &swarm, 10, 100, ask_and_listen_not, NULL);
  pass_time(scene->loop, scene->full ? 10000 : 300);
  leave(scene, &swarm, 1);
}

/* --- what is no HTTP ------------------------------------------------------------------------------------------ */

static void send_long_line(member_t *member) {
  char *text = malloc(1 << 20);
  if (!text) abort();
  memset(text, 'a', 1 << 20);
  say(member, "GET /healthz HTTP/1.1\r\nX-Long: ");
  wire_send(&member->client.wire, text, 1 << 20);
  say(member, "\r\n\r\n");
  free(text);
}

static void long_header(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 20;
  begin(scene, &swarm, scene->sent, 100, send_long_line, NULL);
  await_closed(scene, &swarm);
  check(scene->by_status[200] == 0, "%s: answered 200", scene->who);
}

static void send_many_lines(member_t *member) {
  say(member, "GET /healthz HTTP/1.1\r\n");
  for (int i = 0; i < 2000; i++) wire_print(&member->client.wire, "X-%d: 1\r\n", i);
  say(member, "\r\n");
}

static void many_headers(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 20;
  begin(scene, &swarm, scene->sent, 100, send_many_lines, NULL);
  await_closed(scene, &swarm);
  check(scene->by_status[200] == 0, "%s: answered 200", scene->who);
}

static void send_junk(member_t *member) {
  scene_t *scene = member->swarm->data;
  char junk[2048];
  for (size_t i = 0; i < sizeof(junk); i++) junk[i] = (char)test_rand(scene->random);
  if (member->index % 4 == 0) memcpy(junk, "\x16\x03\x01\x02\x00\x01", 6); /* a client of TLS */
  if (member->index % 4 == 1) memcpy(junk, "GET / HTTP/9.9\r\n\r\n", 18);
  if (member->index % 4 == 2) memset(junk, '\n', sizeof(junk));
  wire_send(&member->client.wire, junk, sizeof(junk));
}

static void garbage(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 100;
  begin(scene, &swarm, scene->sent, 100, send_junk, NULL);
  await_closed(scene, &swarm);
  check(scene->by_status[200] == 0, "%s: answered 200", scene->who);
}

static void send_long_body(member_t *member) {
  static const char piece[4096];
  say(member, "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10000000\r\n\r\n");
  wire_send(&member->client.wire, piece, sizeof(piece));
}

static void long_body(scene_t *scene) {
  swarm_t swarm;
  scene->sent = 20;
  begin(scene, &swarm, scene->sent, 100, send_long_body, NULL);
  await_closed(scene, &swarm);
  expect_all(scene, 413);
}

/* --- all ------------------------------------------------------------------------------------------------------ */

const hostile_t HOSTILES[] = {
    {"slow_headers", SHORT, 0, slow_headers, OTHERS_SERVED},
    {"no_request", IDLE, 0, no_request, OTHERS_SERVED},
    {"no_body", SHORT, 0, no_body, OTHERS_SERVED},
    {"slow_body", SHORT, 0, slow_body, OTHERS_SERVED},
    {"h2_no_body", IDLE, 0, attack_h2_no_body, OTHERS_SERVED},
    {"idle_flood", NULL, FLOOD_DESCRIPTORS, idle_flood, OTHERS_CROSSED},
    {"pipelined", SHORT, 0, pipelined, OTHERS_SERVED},
    {"pipelined_closed", SHORT, 0, pipelined_closed, OTHERS_SERVED},
    {"reset", SHORT, 0, reset, OTHERS_SERVED},
    {"deaf", SHORT, 0, deaf, OTHERS_SERVED},
    {"long_header", SHORT, 0, long_header, OTHERS_SERVED},
    {"many_headers", SHORT, 0, many_headers, OTHERS_SERVED},
    {"long_body", SHORT, 0, long_body, OTHERS_SERVED},
    {"garbage", SHORT, 0, garbage, OTHERS_SERVED},
    {"half_preface", SHORT, 0, attack_half_preface, OTHERS_SERVED},
    {"h2_garbage", SHORT, 0, attack_h2_garbage, OTHERS_SERVED},
    {"rapid_reset", SHORT, 0, attack_rapid_reset, OTHERS_SERVED},
    {"many_streams", SHORT, 0, attack_many_streams, OTHERS_REFUSED},
    {NULL, NULL, 0, NULL, 0},
};
