/* SPDX-License-Identifier: MIT
 *
 * 1. A connection has one request under way at most: what ends it ends that request too, and it is counted once.
 * 2. A connection that has ended is opened anew by the timer, so that a server that refuses is not asked without pause.
 * 3. load->open counts the connections that hold the loop, and the timer: the timer goes when it stops, the connections
 *    when their request has ended.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REOPEN_MS = 20, REQUEST_MOST = 512 };

/* late: its deadline comes while it waits; dead: before it was asked. */
static const ask_t ASKS[] = {
    {"healthz", "/healthz", "", 200, 0, 0, 0},
    {"slow", "/slow?ms=#", "", 200, 1, 25, 0},
    {"long", "/slow?ms=#", "", 200, 100, 400, 0},
    {"work", "/work?ms=#", "", 200, 0, 3, 0},
    {"fan", "/fan?n=3&ms=#", "", 200, 0, 0, 0},
    {"echo", "/echo", "", 200, 0, 5000, 1},
    {"late", "/slow?ms=#", "grpc-timeout: 40m\r\n", 504, 60000, 1000, 0},
    {"dead", "/slow?ms=#", "grpc-timeout: 0n\r\n", 504, 60000, 1000, 0},
};

typedef struct load_conn_s {
  client_t client;
  load_t *load;
  int held;         /* the client is libuv's */
  size_t number;    /* of the request under way; 0: none */
  const ask_t *ask; /* what it was */
  uint64_t sent_ns;
} load_conn_t;

static void on_timer_closed(uv_handle_t *handle) { container_of(handle, load_t, timer)->open--; }

void load_stop(load_t *load) {
  if (load->stopping) return;
  load->stopping = 1;
  uv_close((uv_handle_t *)&load->timer, on_timer_closed);
  for (size_t i = 0; i < load->connections; i++)
    if (load->conns[i].held && !load->conns[i].number) wire_close(&load->conns[i].client.wire);
}

/* What the answer has to show. */
static size_t shown(const load_conn_t *conn) {
  return conn->ask->from + (conn->ask->span ? conn->number % conn->ask->span : 0);
}

static void send_request(load_conn_t *conn) {
  static const char BODY[8192];
  const ask_t *ask = conn->ask;
  wire_t *wire = &conn->client.wire;
  int before = (int)strcspn(ask->path, "#");
  char request[REQUEST_MOST];
  int len = snprintf(request, sizeof(request), "%s %.*s", ask->sends_body ? "POST" : "GET", before, ask->path);
  char *at = request + len, *request_end = request + sizeof(request);
  if (ask->path[before]) at += snprintf(at, (size_t)(request_end - at), "%zu", shown(conn));
  at += snprintf(at, (size_t)(request_end - at), "%cid=%zu HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: %zu\r\n%s",
                 ask->path[before] ? '&' : '?', conn->number, conn->number, ask->headers);
  if (ask->sends_body) at += snprintf(at, (size_t)(request_end - at), "Content-Length: %zu\r\n", shown(conn));
  at += snprintf(at, (size_t)(request_end - at), "\r\n");
  wire_send(wire, request, (size_t)(at - request));
  if (ask->sends_body && shown(conn)) wire_send(wire, BODY, shown(conn));
}

static void ask_next(load_conn_t *conn) {
  load_t *load = conn->load;
  if (load->stopping || (load->most && load->sent >= load->most)) {
    wire_close(&conn->client.wire);
    load_stop(load);
    return;
  }
  conn->ask = load->asks[load->sent % load->n_asks];
  conn->number = ++load->sent;
  conn->sent_ns = uv_hrtime();
  send_request(conn);
}

static void on_open(client_t *client) { ask_next(client->data); }

static void complain(load_t *load, const load_conn_t *conn, const answer_t *answer) {
  if (load->wrong[0]) return;
  snprintf(load->wrong, sizeof(load->wrong), "request %zu, %s: answered %d: %.*s", conn->number,
           conn->ask ? conn->ask->path : "nothing asked", answer->status, (int)strcspn(answer->body, "\n"),
           answer->body);
}

/* The number that an answer of 200 shows: "slept 17 ms", "17". */
static int shows_it(const load_conn_t *conn, const answer_t *answer) {
  if (answer->status != 200 || !conn->ask->span) return 1;
  size_t skip = strcspn(answer->body, "0123456789");
  return answer->body[skip] && strtoull(answer->body + skip, NULL, 10) == shown(conn);
}

static void on_answer(client_t *client, const answer_t *answer) {
  load_conn_t *conn = client->data;
  load_t *load = conn->load;
  if (!conn->number || !shows_it(conn, answer)) {
    load->wrong_number++;
    complain(load, conn, answer);
    wire_close(&client->wire);
    return;
  }
  uint64_t took = uv_hrtime() - conn->sent_ns;
  if (took > load->slowest_ns) load->slowest_ns = took;
  load->answered++;
  load->by_status[status_index(answer->status)]++;
  if (answer->status != conn->ask->status && !(load->may_refuse && answer->status == 503)) {
    load->wrong_status++;
    complain(load, conn, answer);
  }
  conn->number = 0;
  if (answer->last)
    wire_close(&client->wire);
  else
    ask_next(conn);
}

static void on_end(client_t *client, int err) {
  load_conn_t *conn = client->data;
  load_t *load = conn->load;
  (void)err;
  conn->held = 0;
  load->open--;
  if (!conn->number) {
    if (!conn->ask) load->refused++;
  } else if (client->answer_bytes) {
    load->cut++;
  } else {
    load->crossed++;
  }
  conn->number = 0;
}

static void open_conn(load_t *load, load_conn_t *conn) {
  memset(&conn->client, 0, sizeof(conn->client));
  conn->client.on_open = on_open;
  conn->client.on_answer = on_answer;
  conn->client.on_end = on_end;
  conn->client.data = conn;
  conn->load = load;
  conn->ask = NULL;
  conn->held = 1;
  load->open++;
  client_open(&conn->client, load->loop, load->port);
}

static void on_timer(uv_timer_t *timer) {
  load_t *load = container_of(timer, load_t, timer);
  for (size_t i = 0; i < load->connections && !load->stopping; i++)
    if (!load->conns[i].held) open_conn(load, &load->conns[i]);
}

static const ask_t *find_ask(const char *name, size_t len) {
  for (size_t i = 0; i < sizeof(ASKS) / sizeof(ASKS[0]); i++)
    if (strlen(ASKS[i].name) == len && strncmp(ASKS[i].name, name, len) == 0) return &ASKS[i];
  return NULL;
}

int load_start(load_t *load, uv_loop_t *loop) {
  load->n_asks = 0;
  for (const char *name = load->mix; *name; name += strspn(name, ",")) {
    size_t len = strcspn(name, ",");
    const ask_t *ask = find_ask(name, len);
    if (!ask || load->n_asks == LOAD_MIX_MOST) return 0;
    load->asks[load->n_asks++] = ask;
    name += len;
  }
  if (!load->n_asks) return 0;
  load->loop = loop;
  load->stopping = 0;
  load->open = 1;
  load->conns = calloc(load->connections, sizeof(*load->conns));
  if (!load->conns || uv_timer_init(loop, &load->timer)) abort();
  uv_timer_start(&load->timer, on_timer, 0, REOPEN_MS);
  return 1;
}

size_t load_lost(const load_t *load, size_t begun) {
  size_t ended = load->answered + load->cut;
  return load->cut + (begun > ended ? begun - ended : 0);
}

void load_free(load_t *load) {
  free(load->conns);
  load->conns = NULL;
}
