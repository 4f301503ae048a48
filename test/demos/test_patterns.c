/* SPDX-License-Identifier: MIT
 *
 * The small programs of demos/patterns: what they print, and that they end with nothing left (they say so themselves:
 * their exit status is that of uv_loop_close too).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* PATTERNS is the folder the programs are in. */
#define PROGRAM(name) PATTERNS "/" name PATTERN_SUFFIX
#define RUN_PATTERN(world, name, ...) child_run(&(world)->child, &(world)->loop, PROGRAM(name), __VA_ARGS__)
#define LINES(world, part) count_lines(&(world)->child.out, part, NULL)

/* Where part begins in the output. */
static size_t place(const world_t *world, const char *part) {
  assert_has(&world->child.out, part);
  return (size_t)(strstr(world->child.out.at, part) - world->child.out.at);
}

static void assert_order(const world_t *world, const char *first, const char *second) {
  if (place(world, first) > place(world, second)) {
    print_error("\"%s\" is behind \"%s\" in:\n%s\n", first, second, world->child.out.at);
    fail();
  }
}

static void assert_exit(const world_t *world, int status) {
  if (world->child.exit_status == status && world->child.signal == 0) return;
  print_error("exit status %d, signal %d:\n%s\n%s\n", (int)world->child.exit_status, world->child.signal,
              world->child.out.at ? world->child.out.at : "", world->child.err.at ? world->child.err.at : "");
  fail();
}

/* --- fan_in -------------------------------------------------------------------------------------------------- */

/* Line by line: each talker counts from 0, whatever the other does; then the farewell. */
static void two_talkers_are_heard_in_their_own_order_until_the_listener_leaves(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "fan_in", "--lines", "30", NULL);
  assert_exit(world, 0);
  unsigned int next[2] = {0, 0};
  for (const char *line = world->child.out.at; next[0] + next[1] < 30; line = strchr(line, '\n') + 1) {
    int bob = strncmp(line, "Bob ", 4) == 0;
    assert_true(bob || strncmp(line, "Ann ", 4) == 0);
    assert_int_equal(strtoul(line + 4, NULL, 10), next[bob]++);
  }
  assert_true(next[0] > 0 && next[1] > 0);
  assert_int_equal(LINES(world, "Good night."), 1);
  assert_order(world, "Good night.", "Ann was interrupted\n");
  assert_order(world, "Good night.", "Bob was interrupted\n");
  assert_int_equal(LINES(world, ""), 33);
}

/* --- fan_out ------------------------------------------------------------------------------------------------- */

static void each_item_is_handled_once_however_many_workers_there_are(void **state) {
  world_t *world = *state;
  static const char *const WORKERS[] = {"1", "3", "20"};
  for (size_t i = 0; i < sizeof(WORKERS) / sizeof(WORKERS[0]); i++) {
    char text[96];
    RUN_PATTERN(world, "fan_out", "--items", "100", "--workers", WORKERS[i], NULL);
    assert_exit(world, 0);
    assert_int_equal(LINES(world, " items, then the end"), strtoul(WORKERS[i], NULL, 10));
    snprintf(text, sizeof(text), "\n100 items by %s workers, each handled once; the sum of the squares is 338350\n",
             WORKERS[i]);
    assert_has(&world->child.out, text);
  }
}

/* --- drop ---------------------------------------------------------------------------------------------------- */

static void what_does_not_fit_is_dropped_and_the_numbers_add_up(void **state) {
  world_t *world = *state;
  unsigned long sent, received, dropped;
  RUN_PATTERN(world, "drop", "--items", "500", "--capacity", "20", NULL);
  assert_exit(world, 0);
  const char *sums = strstr(world->child.out.at, "500 sent = ");
  assert_non_null(sums);
  assert_int_equal(sscanf(sums, "%lu sent = %lu received + %lu dropped", &sent, &received, &dropped), 3);
  assert_int_equal(sent, received + dropped);
  assert_true(received >= 20 && dropped > 0);
  assert_has(&world->child.out, "is the first to be dropped\n");
  assert_order(world, "all are sent, and I did not wait", "receiver: ");
}

static void nothing_is_dropped_where_there_is_room_for_all(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "drop", "--items", "20", "--capacity", "20", NULL);
  assert_exit(world, 0);
  assert_has(&world->child.out, "receiver: 20 received, the last one is number 20\n"
                                "20 sent = 20 received + 0 dropped\n");
}

/* --- timeout ------------------------------------------------------------------------------------------------- */

static void a_message_that_takes_too_long_ends_the_conversation(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "timeout", "--each", "60", "--limit", "60000", NULL);
  assert_exit(world, 0);
  assert_has(&world->child.out, "Nothing for 60 ms: I give up on you.\n");
  assert_took(world, 60, 20000);
}

static void the_limit_of_the_conversation_ends_it_though_messages_still_come(void **state) {
  world_t *world = *state;
  char limit[16];
  snprintf(limit, sizeof(limit), "%d", 250 * UVF_TEST_SLOWDOWN);
  RUN_PATTERN(world, "timeout", "--each", "60000", "--limit", limit, NULL);
  assert_exit(world, 0);
  assert_has(&world->child.out, "\nThat was all the time I had for you.\n");
  assert_order(world, "Ann, after 10 ms", "That was all");
  assert_took(world, (uint64_t)(250 * UVF_TEST_SLOWDOWN), 20000);
}

/* --- tracker ------------------------------------------------------------------------------------------------- */

static void a_shutdown_waits_for_slow_events(void **state) {
  world_t *world = *state;
  char limit[16];
  snprintf(limit, sizeof(limit), "%d", 400 * UVF_TEST_SLOWDOWN);
  RUN_PATTERN(world, "tracker", "--limit", limit, NULL);
  assert_exit(world, 0);
  assert_int_equal(LINES(world, ": through"), 4);
  assert_order(world, "shutdown: waiting ", "login: through");
  assert_order(world, "report: through\n", "shutdown: all events are through\n");
  assert_took(world, (uint64_t)(200 * UVF_TEST_SLOWDOWN), 20000);
}

static void a_shutdown_that_takes_too_long_names_what_is_running_and_cancels_it(void **state) {
  world_t *world = *state;
  char limit[16];
  snprintf(limit, sizeof(limit), "%d", 200 * UVF_TEST_SLOWDOWN);
  RUN_PATTERN(world, "tracker", "--too-slow", "--limit", limit, NULL);
  assert_exit(world, 1);
  assert_order(world, "upload: through\n", "shutdown: ETIMEDOUT, 2 still running: e-mail, report\n");
  assert_order(world, "still running", "e-mail: cut short\n");
  assert_order(world, "e-mail: cut short\n", "shutdown: now nothing is running (ok)\n");
  assert_order(world, "report: cut short\n", "shutdown: now nothing is running (ok)\n");
  assert_took(world, (uint64_t)(200 * UVF_TEST_SLOWDOWN), 1000);
}

/* --- errgroup ------------------------------------------------------------------------------------------------ */

#ifdef HAS_ERRGROUP
static void the_first_failure_ends_all_fetches(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "errgroup", NULL);
  assert_exit(world, 1);
  assert_int_equal(count_lines(&world->child.out, "http://127.0.0.1:", "error: 503"), 1);
  /* The quick one has 100 ms to be fetched in, which a loaded machine may not give it. */
  assert_int_equal(LINES(world, ": fetched") + LINES(world, ": cancelled"), 2);
  assert_order(world, "error: 503", ": cancelled\nthe group: the first failure ended it\n");
  assert_took(world, 100, 20000); /* the silent server has said nothing */
}

static void urls_that_answer_are_all_fetched(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "errgroup", url(world, "/fast"), url(world, "/fast"), url(world, "/fast"), NULL);
  assert_exit(world, 0);
  assert_int_equal(LINES(world, "/fast: fetched"), 3);
  assert_has(&world->child.out, "the group: all were fetched\n");
}

/* More than the pool has threads for: those that had not begun are cancelled as well. */
static void one_failure_among_many_ends_those_that_hang_and_those_that_wait(void **state) {
  world_t *world = *state;
  const char *hang = url(world, "/hang");
  RUN_PATTERN(world, "errgroup", hang, url(world, "/fail"), hang, hang, hang, hang, NULL);
  assert_exit(world, 1);
  assert_int_equal(LINES(world, "/fail: "), 1);
  assert_int_equal(LINES(world, "/hang: cancelled"), 5);
  assert_took(world, 0, 20000);
}
#endif

/* --- servers ------------------------------------------------------------------------------------------------- */

static void whichever_server_breaks_down_the_other_is_stopped(void **state) {
  world_t *world = *state;
  static const char *const ROWS[2][2] = {{"app", "debug"}, {"debug", "app"}};
  for (size_t i = 0; i < 2; i++) {
    char first[64], second[64], all[64];
    snprintf(first, sizeof(first), "\n%s: broke down\n", ROWS[i][0]);
    snprintf(second, sizeof(second), "\n%s: stopped, as told\n", ROWS[i][1]);
    snprintf(all, sizeof(all), "all have ended; the first was %s; ", ROWS[i][0]);
    RUN_PATTERN(world, "servers", "--fail", ROWS[i][0], "--after", "50", NULL);
    assert_exit(world, 1);
    assert_order(world, "app: listening on port ", "debug: listening on port ");
    assert_order(world, "debug: listening on port ", first);
    assert_order(world, first, second);
    assert_order(world, second, all);
    assert_int_equal(LINES(world, ""), 5);
  }
}

static void both_servers_stop_when_they_are_told(void **state) {
  world_t *world = *state;
  RUN_PATTERN(world, "servers", "--fail", "none", "--after", "50", NULL);
  assert_exit(world, 0);
  assert_order(world, "debug: listening", "both are asked to stop\n");
  assert_order(world, "both are asked", "app: stopped, as told\n");
  assert_order(world, "both are asked", "debug: stopped, as told\n");
  assert_order(world, "app: stopped", "all have ended; the first was nobody in particular; no error\n");
  assert_order(world, "debug: stopped", "all have ended");
}

typedef struct client_s {
  uv_tcp_t tcp;
  uv_connect_t connect;
  char buf[64];
  size_t len;
  int closed;
} client_t;

static void on_client_closed(uv_handle_t *handle) { container_of(handle, client_t, tcp)->closed = 1; }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  client_t *client = container_of(handle, client_t, tcp);
  (void)suggested;
  *buf = uv_buf_init(client->buf + client->len, (unsigned int)(sizeof(client->buf) - 1 - client->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  client_t *client = container_of(stream, client_t, tcp);
  (void)buf;
  if (n > 0) client->len += (size_t)n;
  if (n < 0) uv_close((uv_handle_t *)stream, on_client_closed);
}

static void on_connected(uv_connect_t *connect, int status) {
  if (!status) status = uv_read_start(connect->handle, on_alloc, on_read);
  if (status) uv_close((uv_handle_t *)connect->handle, on_client_closed);
}

static void both_servers_greet_who_calls(void **state) {
  world_t *world = *state;
  static const char *const ROWS[][2] = {{"app: listening on port ", "this is app\n"},
                                        {"debug: listening on port ", "this is debug\n"}};
  client_t clients[2];
  char after[16];
  snprintf(after, sizeof(after), "%d", 500 * UVF_TEST_SLOWDOWN);
  const char *const argv[] = {PROGRAM("servers"), "--after", after, NULL};
  memset(clients, 0, sizeof(clients));
  world->child.argv = argv;
  child_start(&world->child, &world->loop);
  while (count_lines(&world->child.out, "listening on port ", NULL) < 2)
    assert_true(uv_run(&world->loop, UV_RUN_ONCE)); /* each line is one write */
  for (size_t i = 0; i < 2; i++) {
    struct sockaddr_in addr;
    int port = (int)strtol(world->child.out.at + place(world, ROWS[i][0]) + strlen(ROWS[i][0]), NULL, 10);
    assert_int_equal(uv_ip4_addr("127.0.0.1", port, &addr), 0);
    assert_int_equal(uv_tcp_init(&world->loop, &clients[i].tcp), 0);
    assert_int_equal(uv_tcp_connect(&clients[i].connect, &clients[i].tcp, (struct sockaddr *)&addr, on_connected), 0);
  }
  child_wait(&world->child, &world->loop);
  while (!clients[0].closed || !clients[1].closed) uv_run(&world->loop, UV_RUN_ONCE);
  for (size_t i = 0; i < 2; i++) assert_string_equal(clients[i].buf, ROWS[i][1]);
  assert_exit(world, 0);
  assert_int_equal(LINES(world, ": greeted a client"), 2);
}

/* --- list_dir ------------------------------------------------------------------------------------------------ */

/* A folder with a few files and folders, and its name. */
static void make_tree(char *dir, size_t size) {
  static const char *const FILES[] = {"/a", "/sub/b", "/sub/deep/c", "/z"};
  char path[160];
  uv_fs_t req;
  assert_int_equal(uv_fs_mkdtemp(NULL, &req, "list-dir-XXXXXX", NULL), 0);
  snprintf(dir, size, "%s", req.path);
  uv_fs_req_cleanup(&req);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof(path), "%s%s", dir, i ? "/sub/deep" : "/sub");
    assert_int_equal(uv_fs_mkdir(NULL, &req, path, 0700, NULL), 0);
    uv_fs_req_cleanup(&req);
  }
  for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
    snprintf(path, sizeof(path), "%s%s", dir, FILES[i]);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
  }
}

static void remove_tree(const char *dir) {
  static const char *const FILES[] = {"/a", "/sub/b", "/sub/deep/c", "/z"};
  static const char *const DIRS[] = {"/sub/deep", "/sub", ""};
  char path[160];
  uv_fs_t req;
  for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
    snprintf(path, sizeof(path), "%s%s", dir, FILES[i]);
    assert_int_equal(remove(path), 0);
  }
  for (size_t i = 0; i < sizeof(DIRS) / sizeof(DIRS[0]); i++) {
    snprintf(path, sizeof(path), "%s%s", dir, DIRS[i]);
    assert_int_equal(uv_fs_rmdir(NULL, &req, path, NULL), 0);
    uv_fs_req_cleanup(&req);
  }
}

static void both_callers_of_the_walk_print_the_same(void **state) {
  world_t *world = *state;
  static const char *const ENTRIES[] = {"/a\n", "/sub\n", "/sub/b\n", "/sub/deep\n", "/sub/deep/c\n", "/z\n"};
  char dir[64], line[128];
  make_tree(dir, sizeof(dir));
  RUN_PATTERN(world, "list_dir", dir, NULL);
  assert_exit(world, 0);
  assert_int_equal(LINES(world, dir), 6);
  for (size_t i = 0; i < 6; i++) {
    snprintf(line, sizeof(line), "%s%s", dir, ENTRIES[i]);
    assert_has(&world->child.out, line);
  }
  char *plain = strdup(world->child.out.at);
  assert_non_null(plain);
  RUN_PATTERN(world, "list_dir", "--channel", dir, NULL);
  assert_exit(world, 0);
  assert_string_equal(world->child.out.at, plain);
  free(plain);
  remove_tree(dir);
}

static void both_callers_can_end_the_walk_early(void **state) {
  world_t *world = *state;
  char dir[64];
  make_tree(dir, sizeof(dir));
  for (int channel = 0; channel < 2; channel++) {
    RUN_PATTERN(world, "list_dir", dir, "--take", "3", channel ? "--channel" : NULL, NULL);
    assert_exit(world, 0);
    assert_int_equal(LINES(world, dir), 3);
    assert_int_equal(LINES(world, ""), 3);
  }
  remove_tree(dir);
}

static void both_callers_learn_why_a_walk_failed(void **state) {
  world_t *world = *state;
  for (int channel = 0; channel < 2; channel++) {
    RUN_PATTERN(world, "list_dir", "no-such-directory", channel ? "--channel" : NULL, NULL);
    assert_exit(world, 1);
    assert_has(&world->child.err, "list_dir: no-such-directory: no such file or directory\n");
    assert_int_equal(LINES(world, ""), 0);
  }
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static void help_is_printed_and_wrong_command_lines_are_refused_with_it(void **state) {
  world_t *world = *state;
  static const struct {
    const char *argv[3];
    int exit_status;
    const char *says;
  } ROWS[] = {
      {{PROGRAM("fan_in"), "--help", NULL}, 0, "Usage: fan_in "},
      {{PROGRAM("fan_in"), "--lines", NULL}, 2, "Usage: fan_in "},
      {{PROGRAM("fan_in"), "--lines", "0"}, 2, "Usage: fan_in "},
      {{PROGRAM("fan_in"), "--lines", "99999999999999999999"}, 2, "Usage: fan_in "},
      {{PROGRAM("fan_out"), "--help", NULL}, 0, "Usage: fan_out "},
      {{PROGRAM("fan_out"), "--items", NULL}, 2, "Usage: fan_out "},
      {{PROGRAM("fan_out"), "--workers", "65"}, 2, "Usage: fan_out "},
      {{PROGRAM("drop"), "--help", NULL}, 0, "Usage: drop "},
      {{PROGRAM("drop"), "--capacity", ""}, 2, "Usage: drop "},
      {{PROGRAM("timeout"), "--help", NULL}, 0, "Usage: timeout "},
      {{PROGRAM("timeout"), "--each", "x"}, 2, "Usage: timeout "},
      {{PROGRAM("tracker"), "--help", NULL}, 0, "Usage: tracker "},
      {{PROGRAM("tracker"), "--limit", NULL}, 2, "Usage: tracker "},
      {{PROGRAM("tracker"), "--slow", NULL}, 2, "Usage: tracker "},
      {{PROGRAM("servers"), "--help", NULL}, 0, "Usage: servers "},
      {{PROGRAM("servers"), "--fail", "both"}, 2, "Usage: servers "},
      {{PROGRAM("servers"), "--fail", NULL}, 2, "Usage: servers "},
      {{PROGRAM("list_dir"), "--help", NULL}, 0, "Usage: list_dir "},
      {{PROGRAM("list_dir"), "--take", NULL}, 2, "Usage: list_dir "},
      {{PROGRAM("list_dir"), "--take", "1x"}, 2, "Usage: list_dir "},
#ifdef HAS_ERRGROUP
      {{PROGRAM("errgroup"), "--help", NULL}, 0, "Usage: errgroup "},
      {{PROGRAM("errgroup"), "--bogus", NULL}, 2, "Usage: errgroup "},
#endif
  };
  for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
    child_run(&world->child, &world->loop, ROWS[i].argv[0], ROWS[i].argv[1], ROWS[i].argv[2]);
    assert_exit(world, ROWS[i].exit_status);
    assert_has(ROWS[i].exit_status ? &world->child.err : &world->child.out, ROWS[i].says);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      world_test(two_talkers_are_heard_in_their_own_order_until_the_listener_leaves),
      world_test(each_item_is_handled_once_however_many_workers_there_are),
      world_test(what_does_not_fit_is_dropped_and_the_numbers_add_up),
      world_test(nothing_is_dropped_where_there_is_room_for_all),
      world_test(a_message_that_takes_too_long_ends_the_conversation),
      world_test(the_limit_of_the_conversation_ends_it_though_messages_still_come),
      world_test(a_shutdown_waits_for_slow_events),
      world_test(a_shutdown_that_takes_too_long_names_what_is_running_and_cancels_it),
#ifdef HAS_ERRGROUP
      world_test(the_first_failure_ends_all_fetches),
      world_test(urls_that_answer_are_all_fetched),
      world_test(one_failure_among_many_ends_those_that_hang_and_those_that_wait),
#endif
      world_test(whichever_server_breaks_down_the_other_is_stopped),
      world_test(both_servers_stop_when_they_are_told),
      world_test(both_servers_greet_who_calls),
      world_test(both_callers_of_the_walk_print_the_same),
      world_test(both_callers_can_end_the_walk_early),
      world_test(both_callers_learn_why_a_walk_failed),
      world_test(help_is_printed_and_wrong_command_lines_are_refused_with_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
