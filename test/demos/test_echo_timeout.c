/* SPDX-License-Identifier: MIT
 *
 * echo_timeout: what its clients see. Lower bounds are exact, each from a moment the test knows to be earlier than the
 * server's; the upper ones are ctest's.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define CROWD 100
#define LONG "3600000"

/* --- clients --------------------------------------------------------------------------------------------------- */

typedef struct client_s client_t;
struct client_s {
  uv_tcp_t tcp;
  uv_connect_t connect;
  text_t got;
  int connected, ended, closed;
  int status;                           /* what it ended with */
  int write_status;                     /* of the last write that is over */
  uint64_t began_ns, sent_ns, ended_ns; /* before connecting; before the last write; as the end was seen */
  void (*on_echo)(client_t *client);    /* or NULL */
};

static client_t clients[CROWD + 1];
static int nclients, nconnected, nended, nclosed;
static struct sockaddr_in address;

static void on_client_closed(uv_handle_t *handle) {
  client_t *client = handle->data;
  client->closed = 1;
  nclosed++;
}

static void client_end(client_t *client, int status) {
  if (client->ended) return;
  client->ended = 1;
  client->status = status;
  client->ended_ns = uv_hrtime();
  nended++;
  uv_close((uv_handle_t *)&client->tcp, on_client_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle;
  *buf = uv_buf_init(malloc(suggested), (unsigned int)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  client_t *client = stream->data;
  if (n > 0) text_add(&client->got, buf->base, (size_t)n);
  free(buf->base);
  if (n > 0 && client->on_echo) client->on_echo(client);
  if (n < 0) client_end(client, (int)n);
}

static void on_connected(uv_connect_t *connect, int status) {
  client_t *client = connect->data;
  client->connected = status == 0;
  nconnected += status == 0;
  if (status) client_end(client, status);
  if (!status) assert_int_equal(uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read), 0);
}

static client_t *client_new(uv_loop_t *loop) {
  client_t *client = &clients[nclients++];
  assert_true(nclients <= CROWD + 1);
  memset(client, 0, sizeof(*client));
  client->tcp.data = client->connect.data = client;
  assert_int_equal(uv_tcp_init(loop, &client->tcp), 0);
  client->tcp.data = client;
  client->began_ns = uv_hrtime();
  assert_int_equal(uv_tcp_connect(&client->connect, &client->tcp, (struct sockaddr *)&address, on_connected), 0);
  return client;
}

static void on_written(uv_write_t *write, int status) {
  ((client_t *)write->data)->write_status = status;
  free(write);
}

/* A copy of the bytes. */
static void client_send(client_t *client, const char *bytes, size_t len) {
  uv_write_t *write = malloc(sizeof(*write) + len);
  uv_buf_t buf;
  if (!write) abort();
  memcpy(write + 1, bytes, len);
  write->data = client;
  buf = uv_buf_init((char *)(write + 1), (unsigned int)len);
  client->sent_ns = uv_hrtime();
  assert_int_equal(uv_write(write, (uv_stream_t *)&client->tcp, &buf, 1, on_written), 0);
}

static void until(world_t *world, const int *flag, int wanted) {
  while (*flag < wanted) uv_run(&world->loop, UV_RUN_ONCE); /* the time limit is ctest's */
}

static void until_got(world_t *world, const client_t *client, size_t len) {
  while (client->got.len < len && !client->ended) uv_run(&world->loop, UV_RUN_ONCE);
  if (client->got.len != len) {
    fail_msg("%u bytes have come, not %u; ended: %s; server: %s", (unsigned int)client->got.len, (unsigned int)len,
             client->ended ? uv_strerror(client->status) : "no", world->child.err.at ? world->child.err.at : "");
  }
}

static client_t *client_connected(world_t *world) {
  client_t *client = client_new(&world->loop);
  while (!client->connected && !client->ended) uv_run(&world->loop, UV_RUN_ONCE);
  assert_true(client->connected);
  return client;
}

/* --- the server ------------------------------------------------------------------------------------------------ */

static char port_text[8];

/* Below the ports that systems give away by themselves, and another one each time: programs that run at the same time
 * do not meet. */
static void next_port(void) {
  static unsigned int n;
  unsigned int port = 10000 + ((unsigned int)uv_os_getpid() * 37 + n++) % 20000;
  snprintf(port_text, sizeof(port_text), "%u", port);
  assert_int_equal(uv_ip4_addr("127.0.0.1", (int)port, &address), 0);
}

/* Connects until it is served, and leaves. 0: the server has ended, its port was taken. */
static int is_served(world_t *world) {
  int connected = 0;
  while (!connected && world->child.took_ns == 0) {
    client_t *client = client_new(&world->loop);
    while (!client->connected && !client->ended) uv_run(&world->loop, UV_RUN_ONCE);
    connected = client->connected;
    client_end(client, 0);
    while (!client->closed) uv_run(&world->loop, UV_RUN_ONCE);
    nclients--;
    if (!connected) uv_sleep(5);
  }
  return connected;
}

/* Starts it, and returns when it can be connected to. */
static void serve(world_t *world, const char *idle_ms, const char *total_ms) {
  static const char *argv[5];
  argv[0] = ECHO_TIMEOUT;
  argv[1] = port_text;
  argv[2] = idle_ms;
  argv[3] = total_ms;
  for (int attempts = 0; attempts < 20; attempts++) {
    next_port();
    world->child.argv = argv;
    world->child.took_ns = 0;
    child_start(&world->child, &world->loop);
    if (is_served(world)) break;
    child_wait(&world->child, &world->loop);
  }
  if (world->child.took_ns != 0) fail_msg("it does not serve: %s", world->child.err.at ? world->child.err.at : "");
  nclients = nconnected = nended = nclosed = 0;
}

/* It ends with status 0, and whoever was connected sees the end. */
static void stop(world_t *world, int signum) {
  assert_int_equal(uv_process_kill(&world->child.process, signum), 0);
  child_wait(&world->child, &world->loop);
  if (world->child.err.len > 0) fail_msg("%s", world->child.err.at); /* a sanitizer's report */
  assert_int_equal(world->child.signal, 0);
  assert_int_equal(world->child.exit_status, 0);
  until(world, &nended, nclients);
  until(world, &nclosed, nclients);
}

/* --- echo ------------------------------------------------------------------------------------------------------ */

static void what_is_sent_comes_back(void **state) {
  world_t *world = *state;
  client_t *client;
  serve(world, LONG, LONG);
  client = client_connected(world);
  client_send(client, "hello", 5);
  until_got(world, client, 5);
  client_send(client, ", you", 5);
  until_got(world, client, 10);
  assert_string_equal(client->got.at, "hello, you");
  stop(world, SIGTERM);
}

static void much_at_once_comes_back_in_order(void **state) {
  world_t *world = *state;
  size_t len = 1000000;
  char *bytes = malloc(len);
  client_t *client;
  assert_non_null(bytes);
  for (size_t i = 0; i < len; i++) bytes[i] = (char)(i * 31 / 7);
  serve(world, LONG, LONG);
  client = client_connected(world);
  client_send(client, bytes, len);
  until_got(world, client, len);
  assert_memory_equal(client->got.at, bytes, len);
  free(bytes);
  stop(world, SIGTERM);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status) { *(int *)shutdown->data = status + 1; }

static void a_client_that_ends_its_side_is_closed(void **state) {
  world_t *world = *state;
  uv_shutdown_t shutdown;
  int over = 0;
  client_t *client;
  serve(world, LONG, LONG);
  client = client_connected(world);
  client_send(client, "bye", 3);
  until_got(world, client, 3);
  shutdown.data = &over;
  assert_int_equal(uv_shutdown(&shutdown, (uv_stream_t *)&client->tcp, on_shutdown), 0);
  until(world, &over, 1);
  until(world, &client->ended, 1);
  assert_int_equal(client->status, UV_EOF);
  stop(world, SIGTERM);
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

static void a_silent_client_is_closed_when_its_time_is_over_and_not_before(void **state) {
  world_t *world = *state;
  client_t *silent, *late;
  serve(world, "200", LONG);
  silent = client_new(&world->loop);
  late = client_new(&world->loop);
  until(world, &late->connected, 1);
  while (uv_hrtime() - late->began_ns < 100 * MS_NS) uv_run(&world->loop, UV_RUN_NOWAIT);
  if (!late->ended) client_send(late, "x", 1); /* else this machine is too slow */
  until(world, &nended, 2);
  assert_true(silent->ended_ns - silent->began_ns >= 200 * MS_NS);
  assert_true(late->ended_ns - late->began_ns >= 200 * MS_NS);
  if (late->got.len > 0) assert_true(late->ended_ns - late->sent_ns >= 200 * MS_NS); /* a byte gives it new time */
  assert_int_equal(silent->status, UV_EOF);
  assert_int_equal(late->status, UV_EOF);
  stop(world, SIGTERM);
}

static void send_another(client_t *client) { client_send(client, "x", 1); }

static void a_busy_client_is_closed_at_its_deadline_and_not_before(void **state) {
  world_t *world = *state;
  client_t *busy, *silent;
  serve(world, LONG, "300");
  busy = client_new(&world->loop);
  busy->on_echo = send_another;
  silent = client_new(&world->loop);
  until(world, &busy->connected, 1);
  send_another(busy);
  until(world, &nended, 2);
  assert_true(busy->ended_ns - busy->began_ns >= 300 * MS_NS);
  assert_true(silent->ended_ns - silent->began_ns >= 300 * MS_NS);
  assert_true(busy->got.len > 0);
  stop(world, SIGTERM);
}

/* Its echo finds no room: the deadline cuts a write. */
static void a_client_that_never_reads_is_closed_at_its_deadline(void **state) {
  world_t *world = *state;
  size_t len = (size_t)32 << 20;
  char *bytes = calloc(1, len);
  client_t *client;
  assert_non_null(bytes);
  serve(world, LONG, "300");
  client = client_connected(world);
  assert_int_equal(uv_read_stop((uv_stream_t *)&client->tcp), 0);
  client_send(client, bytes, len);
  free(bytes);
  while (uv_hrtime() - client->began_ns < 300 * MS_NS) uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_int_equal(uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read), 0);
  until(world, &client->ended, 1);
  until(world, &client->closed, 1);
  assert_true(client->got.len < len);
  assert_int_not_equal(client->write_status, 0); /* nor did all of it get through */
  assert_true(client->ended_ns - client->began_ns >= 300 * MS_NS);
  stop(world, SIGTERM);
}

/* --- many, and those that go ----------------------------------------------------------------------------------- */

static void a_hundred_clients_at_once_each_have_their_own_echo(void **state) {
  world_t *world = *state;
  char name[16];
  serve(world, LONG, LONG);
  for (int i = 0; i < CROWD; i++) client_new(&world->loop);
  until(world, &nconnected, CROWD);
  for (int i = 0; i < CROWD; i++) {
    snprintf(name, sizeof(name), "client %d", i);
    client_send(&clients[i], name, strlen(name));
  }
  for (int i = 0; i < CROWD; i++) {
    snprintf(name, sizeof(name), "client %d", i);
    until_got(world, &clients[i], strlen(name));
    assert_string_equal(clients[i].got.at, name);
  }
  assert_int_equal(nended, 0);
  stop(world, SIGTERM); /* which closes all of them */
}

static void clients_that_reset_hurt_nobody_else(void **state) {
  world_t *world = *state;
  client_t *stays;
  char bytes[65536] = "";
  serve(world, LONG, LONG);
  stays = client_connected(world);
  for (int i = 0; i < 20; i++) {
    client_t *goes = client_connected(world);
    client_send(goes, bytes, sizeof(bytes));
    until_got(world, stays, stays->got.len); /* nothing: only to be seen to */
    uv_run(&world->loop, UV_RUN_NOWAIT);
    goes->ended = 1;
    nended++;
    assert_int_equal(uv_tcp_close_reset(&goes->tcp, on_client_closed), 0);
  }
  client_send(stays, "here", 4);
  until_got(world, stays, 4);
  stop(world, SIGTERM);
}

/* --- signals and the command line ------------------------------------------------------------------------------ */

static void sigint_and_sigterm_end_it_with_and_without_clients(void **state) {
  world_t *world = *state;
  static const int SIGNUMS[] = {SIGINT, SIGTERM};
  for (int i = 0; i < 2; i++) {
    for (int n = 0; n < 3; n++) {
      serve(world, LONG, LONG);
      for (int j = 0; j < n; j++) client_connected(world);
      stop(world, SIGNUMS[i]);
      for (int j = 0; j < n; j++) assert_true(clients[j].status == UV_EOF || clients[j].status == UV_ECONNRESET);
    }
  }
}

static void help_and_wrong_command_lines(void **state) {
  world_t *world = *state;
  static const struct {
    const char *argv[6];
    int exit_status;
  } ROWS[] = {
      {{ECHO_TIMEOUT, "--help"}, 0},
      {{ECHO_TIMEOUT}, 2},
      {{ECHO_TIMEOUT, "0"}, 2},
      {{ECHO_TIMEOUT, "0", "10"}, 2},
      {{ECHO_TIMEOUT, "0", "none", "10"}, 2},
      {{ECHO_TIMEOUT, "0", "10", "0"}, 2},
      {{ECHO_TIMEOUT, "0", "10", "10", "10"}, 2},
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    world->child.argv = ROWS[i].argv;
    child_start(&world->child, &world->loop);
    child_wait(&world->child, &world->loop);
    assert_int_equal(world->child.exit_status, ROWS[i].exit_status);
    assert_has(&world->child.out, "Usage: echo_timeout PORT IDLE_MS TOTAL_MS");
  }
}

static void a_port_that_is_taken_is_an_error(void **state) {
  world_t *world = *state;
  snprintf(port_text, sizeof(port_text), "%d", world->server.port);
  child_run(&world->child, &world->loop, ECHO_TIMEOUT, port_text, LONG, LONG);
  assert_int_equal(world->child.exit_status, 1);
  assert_has(&world->child.err, "echo_timeout: cannot listen on port ");
}

/* --- fixture --------------------------------------------------------------------------------------------------- */

static int setup(void **state) {
  nclients = nconnected = nended = nclosed = 0;
  return world_setup(state);
}

/* After a failed assertion the server may still be there, and clients. */
static int teardown(void **state) {
  world_t *world = *state;
  if (world->child.open) uv_process_kill(&world->child.process, SIGKILL);
  for (int i = 0; i < nclients; i++) client_end(&clients[i], 0);
  for (int i = 0; i < nclients; i++) {
    while (!clients[i].closed) uv_run(&world->loop, UV_RUN_ONCE);
  }
  for (int i = 0; i <= CROWD; i++) text_free(&clients[i].got);
  return world_teardown(state);
}

#define echo_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      echo_test(what_is_sent_comes_back),
      echo_test(much_at_once_comes_back_in_order),
      echo_test(a_client_that_ends_its_side_is_closed),
      echo_test(a_silent_client_is_closed_when_its_time_is_over_and_not_before),
      echo_test(a_busy_client_is_closed_at_its_deadline_and_not_before),
      echo_test(a_client_that_never_reads_is_closed_at_its_deadline),
      echo_test(a_hundred_clients_at_once_each_have_their_own_echo),
      echo_test(clients_that_reset_hurt_nobody_else),
      echo_test(sigint_and_sigterm_end_it_with_and_without_clients),
      echo_test(help_and_wrong_command_lines),
      echo_test(a_port_that_is_taken_is_an_error),
  };
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN);
#endif
  return cmocka_run_group_tests(tests, NULL, NULL);
}
