/* SPDX-License-Identifier: MIT
 *
 * 1. swarm->open counts the connections that are libuv's, and the timer.
 * 2. The timer runs until swarm_leave, or until all have been opened and all have ended.
 */
#include "swarm.h"

#include <stdlib.h>
#include <string.h>

static void on_timer_closed(uv_handle_t *handle) { container_of(handle, swarm_t, timer)->open--; }

static void stop_timer(swarm_t *swarm) {
  if (!uv_is_closing((uv_handle_t *)&swarm->timer)) uv_close((uv_handle_t *)&swarm->timer, on_timer_closed);
}

static void on_open(client_t *client) {
  member_t *member = client->data;
  member->swarm->opened++;
  if (member->swarm->on_open) member->swarm->on_open(member);
}

static void on_answer(client_t *client, const answer_t *answer) {
  member_t *member = client->data;
  member->swarm->answers++;
  if (member->swarm->on_answer) member->swarm->on_answer(member, answer);
  member->swarm->by_status[status_index(answer->status)]++;
}

static void on_end(client_t *client, int err) {
  member_t *member = client->data;
  swarm_t *swarm = member->swarm;
  member->held = 0;
  if (err == UV_ECANCELED)
    swarm->left++;
  else if (client->wire.was_open)
    swarm->closed++, swarm->last_closed_ns = uv_hrtime();
  else
    swarm->not_opened++;
  /* The timer is all that is left. */
  if (--swarm->open == 1 && swarm->started == swarm->n) stop_timer(swarm);
}

static void open_one(swarm_t *swarm) {
  member_t *member = &swarm->members[swarm->started];
  member->swarm = swarm;
  member->index = swarm->started++;
  member->held = 1;
  member->client.data = member;
  member->client.on_open = on_open;
  member->client.on_answer = on_answer;
  member->client.on_end = on_end;
  swarm->open++;
  client_open(&member->client, swarm->loop, swarm->port);
}

static void on_tick(uv_timer_t *timer) {
  swarm_t *swarm = container_of(timer, swarm_t, timer);
  size_t before = swarm->started;
  for (size_t i = 0; swarm->on_tick && i < before; i++) {
    member_t *member = &swarm->members[i];
    if (!member->held || !member->client.wire.is_open) continue;
    member->step++;
    swarm->on_tick(member);
  }
  while (swarm->started < swarm->n && (!swarm->at_once || swarm->started < before + swarm->at_once)) open_one(swarm);
}

void swarm_start(swarm_t *swarm, uv_loop_t *loop) {
  swarm->loop = loop;
  swarm->open = 1;
  swarm->members = calloc(swarm->n, sizeof(*swarm->members));
  if (!swarm->members || uv_timer_init(loop, &swarm->timer)) abort();
  uv_update_time(loop);
  uv_timer_start(&swarm->timer, on_tick, 0, swarm->tick_ms);
}

void swarm_leave(swarm_t *swarm, int reset) {
  if (swarm->open) stop_timer(swarm);
  for (size_t i = 0; i < swarm->started; i++) {
    member_t *member = &swarm->members[i];
    if (!member->held) continue;
    if (reset)
      wire_reset(&member->client.wire);
    else
      wire_close(&member->client.wire);
  }
}

void swarm_free(swarm_t *swarm) {
  free(swarm->members);
  swarm->members = NULL;
}
