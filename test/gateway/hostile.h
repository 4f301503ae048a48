/* SPDX-License-Identifier: MIT
 *
 * The cases of `hostile`, and what they work with.
 */
#ifndef UVFLOW_TEST_GATEWAY_HOSTILE_H
#define UVFLOW_TEST_GATEWAY_HOSTILE_H

#include "load.h"
#include "subject.h"
#include "swarm.h"
#include "table.h"

typedef struct scene_s {
  uv_loop_t *loop;
  subject_t subject;
  load_t others; /* who ask all the while */
  int full;
  uint64_t *random;
  const char *who;
  /* set by the case */
  size_t sent; /* what could have been answered: requests, or connections */
  size_t answered;
  size_t by_status[STATUSES_MOST];
  size_t closed; /* connections, by the gateway */
  char note[256];
} scene_t;

/* What may happen to requests of others, beside being answered as they should. */
enum {
  OTHERS_SERVED,
  OTHERS_REFUSED, /* 503 while too much is in flight */
  OTHERS_CROSSED  /* their connection was idle and is closed as they ask: not begun, and so not lost */
};

typedef struct hostile_s {
  const char *name;
  const char *const *options; /* of the gateway, where not --full; NULL: none */
  int descriptors;            /* its limit; 0: ours */
  void (*attack)(scene_t *scene);
  int others; /* one of the above */
} hostile_t;

extern const hostile_t HOSTILES[]; /* ends with a name of NULL */

/* What must be answered or closed, at once or at the limits of the gateway, is by then. */
static inline uint64_t closed_ms(const scene_t *scene) { return patient_ms(scene->full ? 30000 : 8000); }

/* Those over HTTP/2: hostile_h2.c. */
void attack_half_preface(scene_t *scene);
void attack_h2_garbage(scene_t *scene);
void attack_h2_no_body(scene_t *scene);
void attack_rapid_reset(scene_t *scene);
void attack_many_streams(scene_t *scene);

/* Runs until the swarm has ended by itself, then checks that it did in time: closed, each of them, by the gateway; or
 * makes it leave. Adds what it counted to the scene, and frees it. */
void await_closed(scene_t *scene, swarm_t *swarm);
void leave(scene_t *scene, swarm_t *swarm, int reset);

#endif
