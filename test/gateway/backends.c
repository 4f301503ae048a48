/* SPDX-License-Identifier: MIT
 *
 * backends: a gateway in front of backends that refuse, hang, reset, drip, and worse. Each /fan must be answered in
 * time, with the status and the JSON that say so; every connection to a bad backend must be gone afterwards. And what
 * the gateway passes on to a good one: what is left of the deadline, the trace, the baggage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "badbackend.h"
#include "demos/json.h"
#include "demos/server.h"
#include "subject.h"
#include "support.h"
#include "swarm.h"
#include "table.h"

static const char HELP[] =
    "Usage: backends --gateway PROGRAM [--drip-ms MS]\n"
    "Fans out to bad backends through a gateway. Dripping ones send a byte every MS, default 1000.\n";

enum { TIMEOUT_MS = 300, URLS_SIZE = 1024, CLIENTS = 20 };

typedef struct world_s {
  uv_loop_t loop;
  server_t server;  /* fast, fail, hang, half, cut, garbage */
  badbackend_t bad; /* reset, drip, endless, deaf, fail, good */
  uv_tcp_t silent;  /* bound, not listening: refuses */
  int silent_port;
} world_t;

/* '!' stands for the port that refuses, '+' for badbackend's, nothing for server's. */
static const struct {
  const char *backends;
  int status, or_status;
  size_t ok;        /* backends that answered */
  const char *part; /* of the JSON */
} CASES[] = {
    {"+/good", 200, 0, 1, "\"status\":200,\"bytes\":5,\"error\":null"},
    {"!/", 502, 0, 0, "\"status\":0"},
    {"+/fail", 502, 0, 0, "\"status\":500"},
    {"/cut", 502, 0, 0, "\"error\":\""},
    {"/garbage", 502, 0, 0, "\"error\":\""},
    {"+/reset", 502, 0, 0, "\"error\":\""},
    {"/hang", 504, 0, 0, "\"error\":\""},
    {"/half", 504, 0, 0, "\"error\":\""},
    {"+/drip", 504, 0, 0, "\"error\":\""},
    {"+/deaf", 504, 0, 0, "\"error\":\""},
    {"+/endless", 504, 502, 0, "\"error\":\""},
    {"+/good,!/,+/fail,+/reset,/garbage", 200, 0, 1, "\"ok\":1,"},
    {"+/good,/hang", 504, 0, 1, "\"ok\":1,"},
    {"/hang,!/,+/drip,/cut,+/endless", 504, 0, 0, "\"ok\":0,"},
};

static void write_urls(const world_t *world, const char *backends, char *urls, size_t size) {
  size_t len = 0;
  urls[0] = '\0';
  for (const char *at = backends; *at;) {
    int port = *at == '!' ? world->silent_port : *at == '+' ? world->bad.port : world->server.port;
    const char *path = at + (*at == '!' || *at == '+');
    size_t path_len = strcspn(path, ",");
    len += (size_t)snprintf(urls + len, size - len, "%shttp://127.0.0.1:%d%.*s", len ? "," : "", port, (int)path_len,
                            path);
    at = path + path_len;
    at += *at == ',';
  }
}

/* --- one case ------------------------------------------------------------------------------------------------- */

/* Several ask at once: what one's end does must not touch the others. */
typedef struct asking_s {
  size_t number; /* of the case */
  size_t wrong;
  uint64_t began_ns, slowest_ns;
} asking_t;

static void on_open(member_t *member) {
  wire_print(&member->client.wire, "GET /fan HTTP/1.1\r\nHost: gateway\r\ngrpc-timeout: %dm\r\n\r\n", TIMEOUT_MS);
}

static void on_answer(member_t *member, const answer_t *answer) {
  asking_t *asking = member->swarm->data;
  uint64_t took = uv_hrtime() - asking->began_ns;
  size_t i = asking->number;
  char ok[32];
  if (took > asking->slowest_ns) asking->slowest_ns = took;
  snprintf(ok, sizeof(ok), "\"ok\":%zu,", CASES[i].ok);
  int is_right = (answer->status == CASES[i].status || answer->status == CASES[i].or_status) &&
                 json_valid(answer->body) && strstr(answer->body, CASES[i].part) && strstr(answer->body, ok);
  if (!is_right && asking->wrong++ == 0)
    check(0, "%s: %d, wanted %d, %s, %s: %.600s", CASES[i].backends, answer->status, CASES[i].status, ok, CASES[i].part,
          answer->body);
  wire_close(&member->client.wire);
}

static void ask(world_t *world, int port, swarm_t *swarm, asking_t *asking, size_t i) {
  memset(asking, 0, sizeof(*asking));
  memset(swarm, 0, sizeof(*swarm));
  asking->number = i;
  asking->began_ns = uv_hrtime();
  swarm->port = port;
  swarm->n = CLIENTS;
  swarm->tick_ms = 100;
  swarm->on_open = on_open;
  swarm->on_answer = on_answer;
  swarm->data = asking;
  swarm_start(swarm, &world->loop);
  const char *who = CASES[i].backends;
  if (!check(await_zero(&world->loop, &swarm->open, patient_ms(20000)), "%s: no answer", who)) exit(1);
  check(swarm->answers == CLIENTS, "%s: %zu of %d were answered", who, swarm->answers, CLIENTS);
  check(asking->slowest_ns <= patient_ms(TIMEOUT_MS + 2000) * MS_NS, "%s: took %llu ms", who,
        (unsigned long long)(asking->slowest_ns / MS_NS));
}

static void run_case(world_t *world, const char *gateway, size_t i) {
  char urls[URLS_SIZE], statuses[128], rest[128];
  const char *const arguments[] = {"--backends", urls, "--lame-duck-ms", "0", "--max-ms", "10000", NULL};
  const char *who = CASES[i].backends;
  subject_t subject;
  swarm_t swarm;
  asking_t asking;
  write_urls(world, CASES[i].backends, urls, sizeof(urls));
  if (!subject_start(&subject, &world->loop, gateway, 0, arguments)) return;
  subject.kept = &world->bad.open;
  ask(world, subject.port, &swarm, &asking, i);
  subject_check_at_rest(&subject, who, rest, sizeof(rest));
  subject_stop(&subject, who);
  printf("%-34s  %4d  %8zu  %-12s  %7llu  %4lld  %s\n", who, CLIENTS, swarm.answers,
         describe_statuses(swarm.by_status, statuses, sizeof(statuses)),
         (unsigned long long)(asking.slowest_ns / MS_NS), (long long)subject.exit_status, rest);
  fflush(stdout);
  swarm_free(&swarm);
}

/* --- what is passed on ---------------------------------------------------------------------------------------- */

static void passed_on(world_t *world, const char *gateway) {
  static const char TRACE_ID[] = "4bf92f3577b34da6a3ce929d0e0e4736", SPAN_ID[] = "00f067aa0ba902b7";
  char urls[URLS_SIZE], request[512], value[256];
  const char *const arguments[] = {"--backends", urls, "--lame-duck-ms", "0", NULL};
  subject_t subject;
  exchange_t x;
  uint64_t left_ns = 0;
  uvf_trace_t trace;
  write_urls(world, "+/good", urls, sizeof(urls));
  if (!subject_start(&subject, &world->loop, gateway, 0, arguments)) return;
  snprintf(request, sizeof(request),
           "grpc-timeout: 500m\r\ntraceparent: 00-%s-%s-01\r\nbaggage: a=1;p, =broken, b=2\r\n", TRACE_ID, SPAN_ID);
  check(get(&x, &world->loop, subject.port, "/fan?n=1&ms=7", request) == 200, "passed on: status %d", x.status);
  exchange_free(&x);
  const char *head = world->bad.head;
  check(strncmp(head, "GET /good?ms=7 ", 15) == 0, "passed on: %.40s", head);
  const char *timeout = head_value(head, "grpc-timeout", value, sizeof(value));
  check(timeout && uvf_grpc_timeout_parse(timeout, strlen(timeout), &left_ns) == 0 && left_ns > 0 &&
            left_ns <= 500 * MS_NS,
        "passed on: grpc-timeout: %s of 500m", timeout ? timeout : "none");
  printf("passed on of grpc-timeout 500m: %s", timeout ? timeout : "nothing");
  const char *parent = head_value(head, "traceparent", value, sizeof(value));
  check(parent && uvf_traceparent_parse(parent, strlen(parent), &trace) == 0 &&
            strncmp(parent + 3, TRACE_ID, 32) == 0 && strncmp(parent + 36, SPAN_ID, 16) != 0 &&
            (trace.flags & UVF_TRACE_SAMPLED),
        "passed on: traceparent: %s", parent ? parent : "none");
  const char *baggage = head_value(head, "baggage", value, sizeof(value));
  check(baggage && strstr(baggage, "a=1;p") && strstr(baggage, "b=2") && !strstr(baggage, "broken"),
        "passed on: baggage: %s", baggage ? baggage : "none");
  printf("; of baggage a=1;p, =broken, b=2: %s\n", baggage ? baggage : "nothing");
  subject_stop(&subject, "passed on");
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static void refuse_connections(world_t *world) {
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  if (uv_ip4_addr("127.0.0.1", 0, &address) || uv_tcp_init(&world->loop, &world->silent) ||
      uv_tcp_bind(&world->silent, (const struct sockaddr *)&address, 0) ||
      uv_tcp_getsockname(&world->silent, (struct sockaddr *)&bound, &len))
    abort();
  world->silent_port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
}

int main(int argc, char **argv) {
  static world_t world;
  const char *gateway = NULL;
  size_t drip_ms = 1000;
  const option_t options[] = {{"--gateway", &gateway, NULL}, {"--drip-ms", NULL, &drip_ms}, {NULL, NULL, NULL}};
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0 || !gateway) return status >= 0 ? status : 2;
  if (uv_loop_init(&world.loop)) abort();
  server_start(&world.server, &world.loop);
  world.bad.drip_ms = drip_ms;
  badbackend_start(&world.bad, &world.loop, 0);
  refuse_connections(&world);
  printf("%-34s  %4s  %8s  %-12s  %7s  %4s  %s\n", "backends of /fan (grpc-timeout 300m)", "sent", "answered", "status",
         "slowest", "exit", "left behind");
  for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) run_case(&world, gateway, i);
  passed_on(&world, gateway);
  for (int i = 0; i < 100 && world.bad.open; i++) pass_time(&world.loop, 20);
  check(world.bad.open == 0, "%zu connections to the bad backend are left", world.bad.open);
  server_stop(&world.server);
  badbackend_stop(&world.bad);
  uv_close((uv_handle_t *)&world.silent, NULL);
  uv_run(&world.loop, UV_RUN_DEFAULT);
  check(uv_loop_close(&world.loop) == 0, "something is left on the loop");
  printf("%d checks failed\n", checks_failed());
  return checks_failed() > 0;
}
