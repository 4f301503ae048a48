/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"
#include "hostile.h"
#include "support.h"

enum { CONNS = 10, RESETS = 2000, STREAMS = 400, PREFACE_LEN = 24 };

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Connections of HTTP/2 that do the same. */
typedef struct h2_swarm_s {
  h2_t h2[CONNS];
  scene_t *scene;
  size_t streams; /* that each asks */
  size_t ended;   /* streams */
  int open;
} h2_swarm_t;

static void on_stream(h2_t *h2, int stream, int status, size_t body_len, int err) {
  h2_swarm_t *swarm = h2->data;
  (void)stream;
  (void)body_len;
  swarm->ended++;
  swarm->scene->by_status[status_index(status)]++;
  if (!err) swarm->scene->answered++;
}

static void on_end(h2_t *h2, int err) {
  h2_swarm_t *swarm = h2->data;
  if (err != UV_ECANCELED) swarm->scene->closed++;
  swarm->open--;
}

static void begin(scene_t *scene, h2_swarm_t *swarm, void (*on_open)(h2_t *), int bare) {
  memset(swarm, 0, sizeof(*swarm));
  swarm->scene = scene;
  swarm->open = CONNS;
  for (int i = 0; i < CONNS; i++) {
    swarm->h2[i].data = swarm;
    swarm->h2[i].bare = bare;
    swarm->h2[i].on_open = on_open;
    swarm->h2[i].on_stream = on_stream;
    swarm->h2[i].on_end = on_end;
    h2_open(&swarm->h2[i], scene->loop, scene->subject.port);
  }
}

static void leave_h2(scene_t *scene, h2_swarm_t *swarm) {
  for (int i = 0; i < CONNS; i++)
    if (!uv_is_closing((uv_handle_t *)&swarm->h2[i].wire.tcp)) wire_close(&swarm->h2[i].wire);
  while (swarm->open) uv_run(scene->loop, UV_RUN_ONCE);
}

static void await_closed_h2(scene_t *scene, h2_swarm_t *swarm) {
  check(await_zero(scene->loop, &swarm->open, closed_ms(scene)), "%s: %d connections are still open", scene->who,
        swarm->open);
  leave_h2(scene, swarm);
}

/* --- no HTTP/2 after all -------------------------------------------------------------------------------------- */

static void send_half_preface(h2_t *h2) { wire_send(&h2->wire, PREFACE, PREFACE_LEN - 4); }

void attack_half_preface(scene_t *scene) {
  static h2_swarm_t swarm;
  scene->sent = CONNS;
  begin(scene, &swarm, send_half_preface, 1);
  await_closed_h2(scene, &swarm);
}

static void send_garbage(h2_t *h2) {
  h2_swarm_t *swarm = h2->data;
  char junk[4096];
  for (size_t i = 0; i < sizeof(junk); i++) junk[i] = (char)test_rand(swarm->scene->random);
  wire_send(&h2->wire, PREFACE, PREFACE_LEN);
  junk[0] = (char)0xff; /* no frame of more than 16 KiB was allowed */
  wire_send(&h2->wire, junk, sizeof(junk));
}

void attack_h2_garbage(scene_t *scene) {
  static h2_swarm_t swarm;
  scene->sent = CONNS;
  begin(scene, &swarm, send_garbage, 1);
  await_closed_h2(scene, &swarm);
}

/* --- bodies that never come ----------------------------------------------------------------------------------- */

static void ask_without_body(h2_t *h2) {
  for (int i = 0; i < 10; i++) h2_post_without_body(h2, "/echo");
}

void attack_h2_no_body(scene_t *scene) {
  static h2_swarm_t swarm;
  scene->sent = CONNS * 10;
  begin(scene, &swarm, ask_without_body, 0);
  await_closed_h2(scene, &swarm);
}

/* --- streams -------------------------------------------------------------------------------------------------- */

/* Each is asked and reset in one breath. */
static void ask_and_reset(h2_t *h2) {
  static const char *const PATHS[] = {"/work?ms=60000", "/slow?ms=60000", "/fan?n=2&ms=60000"};
  for (int i = 0; i < RESETS / CONNS; i++) {
    int stream = h2_get(h2, PATHS[i % 3], "");
    if (stream) h2_reset_stream(h2, stream);
  }
  h2_get(h2, "/healthz", ""); /* answered when all those before have been seen */
}

void attack_rapid_reset(scene_t *scene) {
  static h2_swarm_t swarm;
  scene->sent = RESETS + CONNS;
  begin(scene, &swarm, ask_and_reset, 0);
  uint64_t until = uv_hrtime() + closed_ms(scene) * MS_NS;
  while (swarm.ended < CONNS && swarm.open == CONNS && uv_hrtime() < until) pass_time(scene->loop, 5);
  check(scene->closed > 0 || scene->by_status[200] == CONNS, "%s: the last stream of %zu connections was not answered",
        scene->who, CONNS - scene->by_status[200]);
  leave_h2(scene, &swarm);
  subject_look(&scene->subject);
  snprintf(scene->note, sizeof(scene->note), "begun %lld, answered %lld, of them 499: %lld",
           subject_count(&scene->subject, "begun"), subject_count(&scene->subject, "answered"),
           subject_count(&scene->subject, "status_499"));
}

static void ask_many(h2_t *h2) {
  for (int i = 0; i < STREAMS / CONNS; i++) h2_get(h2, "/slow?ms=30", "");
}

/* More streams than --limit takes, and more than one connection may have: answered, or refused, but each. */
void attack_many_streams(scene_t *scene) {
  static h2_swarm_t swarm;
  scene->sent = STREAMS;
  begin(scene, &swarm, ask_many, 0);
  uint64_t until = uv_hrtime() + closed_ms(scene) * MS_NS;
  while (swarm.ended < STREAMS && swarm.open == CONNS && uv_hrtime() < until) pass_time(scene->loop, 5);
  check(swarm.ended == STREAMS, "%s: %zu of %d streams have ended", scene->who, swarm.ended, STREAMS);
  check(scene->by_status[200] > 0 && scene->by_status[200] + scene->by_status[503] + scene->by_status[0] == STREAMS,
        "%s: statuses", scene->who);
  leave_h2(scene, &swarm);
}
