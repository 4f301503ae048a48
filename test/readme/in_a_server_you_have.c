/* SPDX-License-Identifier: MIT
 *
 * Makes the fragment of README.md, In a server you have, a program: a TCP server that was there before, plain libuv, with
 * a protocol of lines ("GET" and a grpc-timeout, or "GET -"), and three clients: one that waits, one whose deadline comes
 * first, and one that leaves at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

enum { CLIENTS = 3 };

typedef struct client_s {
  uv_tcp_t tcp;
  struct request_s *request; /* NULL: none is under way */
  uv_write_t write;
  char in[64], out[64];
  size_t len;
} client_t;

static uv_loop_t *loop;
static uvf_ctx_t *root;
static uv_tcp_t listener;
static int closed;
static int left;

static void answer(client_t *client, int status);

#include "in_a_server_you_have.inc"

/* --- the server ------------------------------------------------------------------------------- */

static void on_server_side_closed(uv_handle_t *handle) {
  free(handle->data);
  if (++closed < CLIENTS) return;
  uv_close((uv_handle_t *)&listener, NULL);
  uvf_ctx_close(root, NULL); /* waits for the jobs */
}

static void answer(client_t *client, int status) {
  uv_buf_t buf = uv_buf_init(client->out, (unsigned int)sprintf(client->out, "%d\n", status));
  client->request = NULL;
  uv_write(&client->write, (uv_stream_t *)&client->tcp, &buf, 1, NULL);
}

static void on_line(client_t *client) {
  uint64_t timeout_ns = UVF_NO_DEADLINE;
  const char *text = client->in + 4;
  size_t len = strcspn(text, "\n");
  request_t *r;
  if (strncmp(client->in, "GET ", 4) != 0 || (*text != '-' && uvf_grpc_timeout_parse(text, len, &timeout_ns))) {
    answer(client, 400);
    return;
  }
  r = calloc(1, sizeof *r);
  if (!r) exit(2);
  r->client = client;
  client->request = r;
  if (on_request(root, r, timeout_ns)) exit(3);
}

static void on_bytes(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  client_t *client = stream->data;
  (void)buf;
  if (nread < 0) {
    if (client->request) {
      on_left(client->request);
      left++;
    }
    uv_close((uv_handle_t *)stream, on_server_side_closed);
    return;
  }
  client->len += (size_t)nread;
  if (memchr(client->in, '\n', client->len)) on_line(client);
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  client_t *client = handle->data;
  (void)suggested;
  *buf = uv_buf_init(client->in + client->len, (unsigned int)(sizeof client->in - client->len));
}

static void on_connection(uv_stream_t *server, int status) {
  client_t *client = calloc(1, sizeof *client);
  if (status || !client || uv_tcp_init(loop, &client->tcp)) exit(4);
  client->tcp.data = client;
  if (uv_accept(server, (uv_stream_t *)&client->tcp)) exit(5);
  uv_read_start((uv_stream_t *)&client->tcp, on_buffer, on_bytes);
}

/* --- the clients ------------------------------------------------------------------------------ */

typedef struct peer_s {
  const char *line;
  uv_tcp_t tcp;
  uvf_connect_t connect;
  uvf_write_t write;
  uvf_read_t read;
  char in[64];
} peer_t;

static peer_t peers[CLIENTS] = {{.line = "GET -\n"}, {.line = "GET 50m\n"}, {.line = "GET 1S\n"}};

static void on_answer(uvf_read_t *read, int status) {
  peer_t *peer = read->data;
  if (status) exit(6);
  uvf_stream_close((uv_stream_t *)&peer->tcp, NULL);
}

static void on_sent(uvf_write_t *write, int status) {
  peer_t *peer = write->data;
  if (status) exit(7);
  if (peer == &peers[2]) {
    uvf_stream_close((uv_stream_t *)&peer->tcp, NULL);
  } else if (uvf_read_start(root, &peer->read, (uv_stream_t *)&peer->tcp, peer->in, sizeof peer->in, NULL, on_answer)) {
    exit(8);
  }
}

static void on_connected(uvf_connect_t *connect, int status) {
  peer_t *peer = connect->data;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)peer->line, (unsigned int)strlen(peer->line));
  if (status) exit(9);
  if (uvf_write_start(root, &peer->write, (uv_stream_t *)&peer->tcp, &buf, 1, on_sent, NULL)) exit(10);
}

int main(void) {
  struct sockaddr_in address;
  int len = sizeof address;
  char port[8];
  setvbuf(stdout, NULL, _IOLBF, 0);
  loop = uv_default_loop();
  if (uvf_ctx_background(loop, &root) || uv_tcp_init(loop, &listener)) return 1;
  uv_ip4_addr("127.0.0.1", 0, &address);
  if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0)) return 1;
  if (uv_listen((uv_stream_t *)&listener, CLIENTS, on_connection)) return 1;
  uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len);
  snprintf(port, sizeof port, "%d", (address.sin_port & 0xff) << 8 | address.sin_port >> 8);
  for (int i = 0; i < CLIENTS; i++) {
    peer_t *peer = &peers[i];
    peer->connect.data = peer->write.data = peer->read.data = peer;
    if (uvf_tcp_dial(root, &peer->connect, &peer->tcp, "127.0.0.1", port, NULL, on_connected, NULL)) return 1;
  }
  uv_run(loop, UV_RUN_DEFAULT);
  for (int i = 0; i < CLIENTS - 1; i++) { /* not as they come, which a slow machine could change */
    const peer_t *peer = &peers[i];
    printf("%.*s: %.*s\n", (int)strcspn(peer->line, "\n"), peer->line, (int)peer->read.nread - 1, peer->in);
  }
  if (left == 1) puts("a client has left");
  return uv_loop_close(loop) ? 1 : 0;
}
