/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

int world_setup(void **state) {
  world_t *world = calloc(1, sizeof(*world));
  if (!world) return -1;
  *state = world;
  assert_int_equal(uv_loop_init(&world->loop), 0);
  server_start(&world->server, &world->loop);
  return 0;
}

int world_teardown(void **state) {
  world_t *world = *state;
  server_stop(&world->server);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  child_free(&world->child);
  free(world);
  return 0;
}

const char *url(world_t *world, const char *path) {
  char *text = world->urls[world->next_url++ % 8];
  snprintf(text, sizeof(world->urls[0]), "http://127.0.0.1:%d%s", world->server.port, path);
  return text;
}

void assert_took(const world_t *world, uint64_t at_least_ms, uint64_t at_most_ms) {
  assert_in_range(world->child.took_ns, at_least_ms * MS_NS, at_most_ms * MS_NS * UVF_TEST_SLOWDOWN);
}
