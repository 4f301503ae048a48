/* SPDX-License-Identifier: MIT
 *
 * What fanout tells the servers it asks, and what the gateway makes of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#include "json.h"
#include "world.h"

/* --- a server that keeps what it is told ----------------------------------------------------------------------- */

enum { CALLS = 2, HEAD_SIZE = 2048 };

typedef struct call_s {
  uv_tcp_t tcp;
  uv_write_t write;
  char head[HEAD_SIZE];
  size_t len;
} call_t;

typedef struct ear_s {
  uv_tcp_t listener;
  int port;
  call_t calls[CALLS];
  int count;
} ear_t;

static void on_answered(uv_write_t *write, int status) {
  (void)status;
  uv_close((uv_handle_t *)write->handle, NULL);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  call_t *call = container_of(handle, call_t, tcp);
  (void)suggested;
  *buf = uv_buf_init(call->head + call->len, (unsigned int)(HEAD_SIZE - 1 - call->len));
}

static void on_bytes(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  static char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  call_t *call = container_of(stream, call_t, tcp);
  uv_buf_t out = uv_buf_init(answer, sizeof answer - 1);
  (void)buf;
  if (nread > 0) call->len += (size_t)nread;
  if (nread >= 0 && !strstr(call->head, "\r\n\r\n")) return;
  uv_read_stop(stream);
  if (uv_write(&call->write, stream, &out, 1, on_answered)) uv_close((uv_handle_t *)stream, NULL);
}

static void on_call(uv_stream_t *listener, int status) {
  ear_t *ear = container_of(listener, ear_t, listener);
  assert_int_equal(status, 0);
  assert_true(ear->count < CALLS);
  call_t *call = &ear->calls[ear->count++];
  uv_tcp_init(listener->loop, &call->tcp);
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&call->tcp), 0);
  uv_read_start((uv_stream_t *)&call->tcp, on_room, on_bytes);
}

static void ear_open(ear_t *ear, uv_loop_t *loop) {
  struct sockaddr_in address;
  int len = sizeof address;
  memset(ear, 0, sizeof *ear);
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &ear->listener);
  assert_int_equal(uv_tcp_bind(&ear->listener, (struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&ear->listener, CALLS, on_call), 0);
  assert_int_equal(uv_tcp_getsockname(&ear->listener, (struct sockaddr *)&address, &len), 0);
  ear->port = (address.sin_port & 0xff) << 8 | address.sin_port >> 8;
}

/* The value of a header of what was heard; its length in *len. */
static const char *heard(const call_t *call, const char *name, size_t *len) {
  const char *at = strstr(call->head, name);
  *len = 0;
  if (!at) {
    fail_msg("no %s in:\n%s", name, call->head);
    return NULL;
  }
  at += strlen(name);
  *len = strcspn(at, "\r\n");
  return at;
}

static void servers_are_told_the_time_left_and_the_trace(void **state) {
  world_t *world = *state;
  static ear_t ear; /* until the teardown has run the loop */
  uvf_trace_t traces[CALLS];
  char one[64], two[64];
  ear_open(&ear, &world->loop);
  snprintf(one, sizeof one, "http://127.0.0.1:%d/one", ear.port);
  snprintf(two, sizeof two, "http://127.0.0.1:%d/two", ear.port);
  RUN(world, "--timeout", "5000", one, two);
  assert_int_equal(world->child.exit_status, 0);
  assert_int_equal(ear.count, CALLS);
  for (int i = 0; i < CALLS; i++) {
    uint64_t left_ns;
    size_t len;
    const char *text = heard(&ear.calls[i], "grpc-timeout: ", &len);
    assert_int_equal(uvf_grpc_timeout_parse(text, len, &left_ns), 0);
    assert_true(left_ns > 0 && left_ns <= UINT64_C(5000000000));
    text = heard(&ear.calls[i], "traceparent: ", &len);
    assert_int_equal(uvf_traceparent_parse(text, len, &traces[i]), 0);
  }
  assert_memory_equal(traces[0].trace_id, traces[1].trace_id, sizeof traces[0].trace_id);
  assert_memory_not_equal(traces[0].span_id, traces[1].span_id, sizeof traces[0].span_id);
  uv_close((uv_handle_t *)&ear.listener, NULL);
}

/* --- the gateway --------------------------------------------------------------------------------------------- */

/* Its margin is so long that its answer comes a second before fanout would give up: whose deadline it was is told by
 * whether there is an answer. */
static void the_gateway_answers_before_the_deadline_that_it_was_told(void **state) {
  world_t *world = *state;
  const char *const argv[] = {GATEWAY, "--margin-ms", "1000", "--max-ms", "60000", "--quiet", NULL};
  child_t gateway = {.argv = argv};
  char slow[64], healthy[64];
  const char *at;
  child_start(&gateway, &world->loop);
  while (!(gateway.out.at && strchr(gateway.out.at, '\n')) && uv_run(&world->loop, UV_RUN_ONCE)) {}
  assert_has(&gateway.out, "listening on http://127.0.0.1:");
  at = strstr(gateway.out.at, "http://127.0.0.1:");
  snprintf(slow, sizeof slow, "%.*s/slow?ms=30000", (int)strcspn(at, " \n"), at);
  snprintf(healthy, sizeof healthy, "%.*s/healthz", (int)strcspn(at, " \n"), at);
  RUN(world, "--timeout", "1500", "--json", slow, healthy);
  assert_int_equal(world->child.exit_status, 1);
  assert_true(json_valid(world->child.out.at));
  assert_has(&world->child.out, "HTTP status 504");
  assert_has_not(&world->child.out, "\"outcome\":\"deadline\"");
  child_interrupt(&gateway);
  child_wait(&gateway, &world->loop);
  assert_int_equal(gateway.exit_status, 0);
  assert_has(&gateway.out, "begun=2 answered=2 cut=0 lost=0");
  child_free(&gateway);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(servers_are_told_the_time_left_and_the_trace, world_setup, world_teardown),
      cmocka_unit_test_setup_teardown(the_gateway_answers_before_the_deadline_that_it_was_told, world_setup,
                                      world_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
