/* SPDX-License-Identifier: MIT
 *
 * end_to_end: what clients see of a gateway and what it counts itself have to be the same, status by status: under load
 * over HTTP/1.1 and HTTP/2 with deadlines that come for a third of the requests, with clients that leave half way, and
 * with more requests than it takes. Afterwards nothing is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"
#include "load.h"
#include "subject.h"
#include "swarm.h"
#include "table.h"

static const char HELP[] = "Usage: end_to_end --gateway PROGRAM [OPTION]...\n"
                           "Loads a gateway in several ways and compares what was seen with its counters.\n"
                           "\n"
                           "  --duration-ms MS  of each load; default 10000\n"
                           "  --connections N   of the load over HTTP/1.1; default 200\n";

enum { STREAMS = 50, H2_CONNS = 4, SHED_LIMIT = 20, SHED_CLIENTS = 100, LEAVERS = 60, AWAY_MS = 20000 };

static const int STATUSES[] = {200, 400, 404, 405, 499, 502, 503, 504};
enum { N_STATUSES = sizeof(STATUSES) / sizeof(STATUSES[0]) };

static size_t duration_ms = 10000, connections = 200;

/* --- the gateway's own count ---------------------------------------------------------------------------------- */

typedef struct count_s {
  long long begun, answered, status[N_STATUSES];
} count_t;

static void read_count(subject_t *subject, count_t *count) {
  char name[32];
  check(subject_look(subject), "/counters does not answer");
  count->begun = subject_count(subject, "begun");
  count->answered = subject_count(subject, "answered");
  for (size_t i = 0; i < N_STATUSES; i++) {
    snprintf(name, sizeof(name), "status_%d", STATUSES[i]);
    count->status[i] = subject_count(subject, name);
  }
}

/* What came since `before` must be what the client saw: the statuses, and those it did not wait for as 499. */
static void compare(subject_t *subject, const char *who, const count_t *before, size_t sent, const size_t *by_status,
                    size_t left) {
  char rest[128], text[256];
  size_t len = 0, answered = 0;
  count_t now;
  subject_check_at_rest(subject, who, rest, sizeof(rest));
  read_count(subject, &now);
  for (size_t i = 0; i < N_STATUSES; i++) {
    long long own = now.status[i] - before->status[i];
    size_t seen = STATUSES[i] == 499 ? left : by_status[STATUSES[i]];
    answered += by_status[STATUSES[i]];
    check(own == (long long)seen, "%s: %d was seen %zu times, and counted %lld times", who, STATUSES[i], seen, own);
    if (seen) len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d: %zu", len ? ", " : "", STATUSES[i], seen);
  }
  check(sent == answered + left, "%s: sent %zu, answered %zu, left %zu", who, sent, answered, left);
  check(now.begun - before->begun == (long long)sent && now.answered - before->answered == (long long)sent,
        "%s: sent %zu, but the gateway began %lld and answered %lld", who, sent, now.begun - before->begun,
        now.answered - before->answered);
  printf("%-34s  %8zu  %8zu  %5zu  %8lld  %-40s  %s\n", who, sent, answered, left, now.begun - before->begun, text,
         rest);
  fflush(stdout);
}

/* --- load over HTTP/1.1 --------------------------------------------------------------------------------------- */

static void load_http1(subject_t *subject, const char *who, const char *mix) {
  load_t load;
  count_t before;
  read_count(subject, &before);
  memset(&load, 0, sizeof(load));
  load.port = subject->port;
  load.connections = connections;
  load.mix = mix;
  if (!load_start(&load, subject->loop)) abort();
  pass_time(subject->loop, duration_ms);
  load_stop(&load);
  if (!check(await_zero(subject->loop, &load.open, patient_ms(AWAY_MS)), "%s: requests get no answer", who)) exit(1);
  check(load.answered > load.connections, "%s: only %zu answers", who, load.answered);
  check(!load.cut && !load.crossed && !load.refused, "%s: cut %zu, crossed %zu, refused %zu", who, load.cut,
        load.crossed, load.refused);
  check(!load.wrong_status && !load.wrong_number, "%s: wrong: %zu status, %zu number; the first: %s", who,
        load.wrong_status, load.wrong_number, load.wrong);
  compare(subject, who, &before, load.sent, load.by_status, 0);
  load_free(&load);
}

/* --- load over HTTP/2 ----------------------------------------------------------------------------------------- */

typedef struct h2_load_s {
  h2_t h2[H2_CONNS];
  size_t by_status[STATUSES_MOST];
  size_t sent;
  int stopping;
  int open;
} h2_load_t;

static void ask_h2(h2_load_t *load, h2_t *h2) {
  static const char *const PATHS[] = {"/slow?ms=60000", "/slow?ms=10", "/healthz"};
  size_t which = load->sent % 3;
  if (h2_get(h2, PATHS[which], which == 0 ? "grpc-timeout: 40m\r\n" : "")) load->sent++;
}

static void on_h2_stream(h2_t *h2, int stream, int status, size_t body_len, int err) {
  h2_load_t *load = h2->data;
  (void)body_len;
  load->by_status[status_index(status)]++;
  check(!err, "HTTP/2: stream %d: %s", stream, err ? uv_strerror(err) : "");
  if (!load->stopping)
    ask_h2(load, h2);
  else if (h2->asked == h2->answered + h2->refused)
    wire_close(&h2->wire);
}

static void on_h2_open(h2_t *h2) {
  h2_load_t *load = h2->data;
  for (int i = 0; i < STREAMS; i++) ask_h2(load, h2);
}

static void on_h2_end(h2_t *h2, int err) {
  h2_load_t *load = h2->data;
  check(err == UV_ECANCELED, "HTTP/2: the gateway ended the connection: %s", uv_strerror(err));
  load->open--;
}

static void load_http2(subject_t *subject) {
  static h2_load_t load;
  count_t before;
  read_count(subject, &before);
  memset(&load, 0, sizeof(load));
  load.open = H2_CONNS;
  for (int i = 0; i < H2_CONNS; i++) {
    load.h2[i].data = &load;
    load.h2[i].on_open = on_h2_open;
    load.h2[i].on_stream = on_h2_stream;
    load.h2[i].on_end = on_h2_end;
    h2_open(&load.h2[i], subject->loop, subject->port);
  }
  pass_time(subject->loop, duration_ms);
  load.stopping = 1;
  if (!check(await_zero(subject->loop, &load.open, patient_ms(AWAY_MS)), "HTTP/2: streams get no answer")) exit(1);
  size_t late = (load.sent + 2) / 3; /* one of three has a deadline that comes */
  check(load.by_status[504] == late && load.by_status[200] == load.sent - late, "HTTP/2: of %zu, %zu were 504, %zu 200",
        load.sent, load.by_status[504], load.by_status[200]);
  compare(subject, "HTTP/2, 4 connections, 50 streams", &before, load.sent, load.by_status, 0);
}

/* --- clients that leave half way ------------------------------------------------------------------------------ */

typedef struct leaver_s {
  client_t client;
  h2_t h2;
  const char *path;
  int stream; /* of HTTP/2 */
  int *open;
} leaver_t;

static void on_leaver_open(client_t *client) {
  leaver_t *leaver = client->data;
  wire_print(&client->wire, "GET %s HTTP/1.1\r\nHost: gateway\r\n\r\n", leaver->path);
}

static void on_leaver_end(client_t *client, int err) {
  leaver_t *leaver = client->data;
  check(err == UV_ECANCELED, "%s: the gateway ended the connection: %s", leaver->path, uv_strerror(err));
  --*leaver->open;
}

static void on_h2_leaver_open(h2_t *h2) {
  leaver_t *leaver = h2->data;
  leaver->stream = h2_get(h2, leaver->path, "");
}

static void on_h2_leaver_end(h2_t *h2, int err) {
  leaver_t *leaver = h2->data;
  check(err == UV_ECANCELED, "%s: the gateway ended the connection: %s", leaver->path, uv_strerror(err));
  --*leaver->open;
}

static void leave_half_way(subject_t *subject) {
  static const char WHO[] = "clients that leave half way";
  static const char *const PATHS[] = {"/slow?ms=60000", "/work?ms=60000", "/fan?n=3&ms=60000"};
  static leaver_t leavers[LEAVERS];
  static const size_t none[STATUSES_MOST];
  int open = LEAVERS;
  count_t before;
  read_count(subject, &before);
  memset(leavers, 0, sizeof(leavers));
  for (int i = 0; i < LEAVERS; i++) {
    leaver_t *leaver = &leavers[i];
    leaver->path = PATHS[i % 3];
    leaver->open = &open;
    leaver->client.data = leaver->h2.data = leaver;
    leaver->client.on_open = on_leaver_open;
    leaver->client.on_end = on_leaver_end;
    leaver->h2.on_open = on_h2_leaver_open;
    leaver->h2.on_end = on_h2_leaver_end;
    if (i % 4 < 2)
      client_open(&leaver->client, subject->loop, subject->port);
    else
      h2_open(&leaver->h2, subject->loop, subject->port);
  }
  subject_await(subject, WHO, "in_flight", LEAVERS, LEAVERS); /* only then do they leave */
  for (int i = 0; i < LEAVERS; i++) { /* by closing, by a reset of the connection, or of the stream */
    if (i % 4 == 0) wire_close(&leavers[i].client.wire);
    if (i % 4 == 1) wire_reset(&leavers[i].client.wire);
    if (i % 4 == 2) wire_close(&leavers[i].h2.wire);
    if (i % 4 == 3) h2_reset_stream(&leavers[i].h2, leavers[i].stream);
  }
  subject_await(subject, WHO, "in_flight", 0, 0);
  subject_await(subject, WHO, "jobs", 0, 0); /* of a minute each: they have seen it */
  for (int i = 3; i < LEAVERS; i += 4) wire_close(&leavers[i].h2.wire);
  await_zero(subject->loop, &open, patient_ms(AWAY_MS));
  compare(subject, WHO, &before, LEAVERS, none, LEAVERS);
}

/* --- more than it takes --------------------------------------------------------------------------------------- */

static size_t without_retry; /* 503 without Retry-After */

static void on_member_open(member_t *member) {
  wire_print(&member->client.wire, "GET /slow?ms=300 HTTP/1.1\r\nHost: gateway\r\n\r\n");
}

static void on_member_answer(member_t *member, const answer_t *answer) {
  char value[16];
  if (answer->status == 503 && !head_value(answer->head, "retry-after", value, sizeof(value))) without_retry++;
  wire_close(&member->client.wire);
}

static void shed(subject_t *subject) {
  swarm_t crowd;
  count_t before;
  read_count(subject, &before);
  memset(&crowd, 0, sizeof(crowd));
  crowd.port = subject->port;
  crowd.n = SHED_CLIENTS;
  crowd.tick_ms = 100;
  crowd.on_open = on_member_open;
  crowd.on_answer = on_member_answer;
  swarm_start(&crowd, subject->loop);
  if (!check(await_zero(subject->loop, &crowd.open, patient_ms(AWAY_MS)), "shedding: no answer")) exit(1);
  check(crowd.by_status[200] >= SHED_LIMIT, "shedding: only %zu of %d in flight were answered 200",
        crowd.by_status[200], SHED_LIMIT);
  check(crowd.by_status[503] > 0, "shedding: none was turned away");
  check(!without_retry, "shedding: %zu times 503 without Retry-After", without_retry);
  compare(subject, "100 at once where 20 are taken", &before, SHED_CLIENTS, crowd.by_status, 0);
  check(subject_count(subject, "shed") == (long long)crowd.by_status[503], "shedding: counted %lld, seen %zu",
        subject_count(subject, "shed"), crowd.by_status[503]);
  swarm_free(&crowd);
}

/* --- all ------------------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
  static const char *const roomy[] = {"--max-ms", "30000", "--lame-duck-ms", "0", NULL};
  static const char *const narrow[] = {"--limit", "20", "--lame-duck-ms", "0", "--max-ms", "30000", NULL};
  const char *gateway = NULL;
  const option_t options[] = {{"--gateway", &gateway, NULL},
                              {"--duration-ms", NULL, &duration_ms},
                              {"--connections", NULL, &connections},
                              {NULL, NULL, NULL}};
  uv_loop_t loop;
  subject_t subject;
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0 || !gateway) return status >= 0 ? status : 2;
  if (uv_loop_init(&loop)) abort();
  printf("%-34s  %8s  %8s  %5s  %8s  %-40s  %s\n", "client", "sent", "answered", "left", "begun", "status seen",
         "left behind");
  if (!subject_start(&subject, &loop, gateway, 0, roomy)) return 1;
  load_http1(&subject, "HTTP/1.1, a third has a deadline", "late,slow,healthz");
  load_http2(&subject);
  leave_half_way(&subject);
  load_http1(&subject, "HTTP/1.1, of everything", "healthz,slow,work,fan,echo,late,dead");
  subject_stop(&subject, "end_to_end");
  if (!subject_start(&subject, &loop, gateway, 0, narrow)) return 1;
  shed(&subject);
  subject_stop(&subject, "shedding");
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  printf("%d checks failed\n", checks_failed());
  return checks_failed() > 0;
}
