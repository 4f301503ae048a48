/* SPDX-License-Identifier: MIT
 *
 * What each test of fanout starts with: a loop, a server on it, and a child to be run.
 */
#ifndef UVFLOW_TEST_WORLD_H
#define UVFLOW_TEST_WORLD_H

#include "child.h"
#include "server.h"

#define MS_NS UINT64_C(1000000)

typedef struct world_s {
  uv_loop_t loop;
  server_t server;
  child_t child;
  char urls[8][64]; /* url() turns round in them */
  size_t next_url;
} world_t;

/* cmocka setup and teardown: *state is a world_t*. Teardown closes all and asserts uv_loop_close() == 0. */
int world_setup(void **state);
int world_teardown(void **state);

/* "http://127.0.0.1:PORT/path" on the world's server; good for the next seven calls. */
const char *url(world_t *world, const char *path);

/* Bounds on how long the child ran; the upper one is multiplied by UVF_TEST_SLOWDOWN. */
void assert_took(const world_t *world, uint64_t at_least_ms, uint64_t at_most_ms);

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define RUN(world, ...) child_run(&(world)->child, &(world)->loop, FANOUT, __VA_ARGS__)

#endif
