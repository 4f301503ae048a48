/* SPDX-License-Identifier: MIT
 *
 * gateway: an HTTP/1.1 and HTTP/2 server, libh2o on a libuv loop, every request of which has a context.
 *
 *   root                         the program: signals, curl, the pipeline of stats.c
 *     services                   over when one of them fails, or the gateway has drained
 *       app, debug, backends     a server each                                        server.c, listener.c
 *         connection             of a client; its end hangs up                        conn.c
 *           request              has the deadline that its client or the server sets  request.c, head.c
 *             wait, job, fan     what is done for it                                  simple.c, work.c, fan.c
 *
 * Three servers are services of one set: the gateway itself, the debug server (debug.c), and backends of the program's
 * own, for a look at it without a network. They live and end together. The gateway's end is a drain, whose ledger is
 * also what limits its requests; when that is over the others are told.
 *
 * To put uvflow into a server of your own, read request.c: where a request gets its context, the three ways in which
 * that ends early, and why there is one answer whatever comes first. Then conn.c: how it is known that a client has
 * left. The rest is libh2o's business, or libuv's. bare.c is the same server without uvflow.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "heap.h"
#include "routes.h"

enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2, DEBUG_CONNS = 16, DEBUG_MS = 10000, DEBUG_GRACE_MS = 500 };

static const route_t APP_ROUTES[] = {
    {"/healthz", METHOD_GET, healthz_start},
    {"/work", METHOD_GET, work_start},
    {"/slow", METHOD_GET, slow_start},
    {"/fan", METHOD_GET, fan_start},
    {"/echo", METHOD_GET | METHOD_POST, echo_start},
    {NULL, 0, NULL},
};

/* Backends are services that take their time. */
static const route_t OWN_ROUTES[] = {
    {"/one", METHOD_GET, slow_start},
    {"/two", METHOD_GET, slow_start},
    {"/three", METHOD_GET, slow_start},
    {NULL, 0, NULL},
};

int complain(const char *what, int err) {
  fprintf(stderr, "gateway: %s: %s\n", what, uv_strerror(err));
  return err;
}

/* "http://host:port" of a server. */
static const char *address_of(const server_t *server, char *buf, size_t size) {
  const char *host = server->options.host;
  snprintf(buf, size, strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host, server->port);
  return buf;
}

/* --- what is printed ----------------------------------------------------------------------------------------- */

static void print_hints(const char *app, const char *debug) {
  printf("\nTry, in another terminal:\n");
  printf("  curl -i '%s/fan?ms=50'\n", app);
  printf("  curl -i -H 'grpc-timeout: 200m' '%s/slow?ms=5000'\n", app);
  printf("  curl -i --http2-prior-knowledge '%s/work?ms=300'\n", app);
  printf("  curl '%s/slow?ms=900' & curl %s/contexts\n", app, debug);
  printf("  curl %s/counters %s/pipelines\n", debug, debug);
  printf("Ctrl-C drains; a second one ends it at once.\n\n");
}

static void on_app_step(server_t *server, uvf_drain_step_t step) {
  char word[32];
  if (!server->gateway->options.quiet) printf("gateway: drain %s\n", step_word(step, word, sizeof(word)));
}

static void print_end(const gateway_t *gateway) {
  const counters_t *counters = &gateway->app.counters;
  unsigned long long begun = counters->begun, answered = counters->answered, cut = gateway->app.drain.cancelled;
  if (cut) printf("gateway: cut %llu requests past the grace period\n", cut);
  printf("gateway: done begun=%llu answered=%llu cut=%llu lost=%llu\n", begun, answered, cut, begun - answered);
}

/* --- the servers --------------------------------------------------------------------------------------------- */

/* Called when the app server listens: it is the last. */
static void on_app_listening(server_t *server) {
  const gateway_t *gateway = server->gateway;
  char app[128], debug[128];
  address_of(server, app, sizeof(app));
  address_of(&gateway->debug, debug, sizeof(debug));
  printf("gateway: listening on %s debug %s\n", app, debug);
  if (uv_guess_handle(1) == UV_TTY && !gateway->options.quiet) print_hints(app, debug);
}

static void on_app_drained(server_t *server) { uvf_services_stop(&server->gateway->services); }

/* Called when the program's own backends listen: before the gateway does. */
static void on_own_listening(server_t *server) {
  backends_t *backends = &server->gateway->backends;
  for (const route_t *route = OWN_ROUTES; route->path; route++) {
    char address[128], url[160];
    int len = snprintf(url, sizeof(url), "%s%s", address_of(server, address, sizeof(address)), route->path);
    int err = backends_add(backends, url, (size_t)len);
    if (err) complain(url, err);
  }
}

static void add_service(gateway_t *gateway, server_t *server, const server_options_t *options) {
  uvf_service_t *service = &gateway->list[gateway->count++];
  service->name = options->name;
  service->start = server_start;
  service->data = server;
  server_init(server, gateway, gateway->root, options);
}

static void on_app_answer(server_t *server, uint64_t began_ns) { stats_note(&server->gateway->stats, began_ns); }

static server_options_t debug_options(const options_t *options) {
  return (server_options_t){.name = "debug",
                            .host = options->host,
                            .port = (int)options->debug_port,
                            .routes = DEBUG_ROUTES,
                            .max_conns = DEBUG_CONNS,
                            .max_body = options->max_body,
                            .max_ms = DEBUG_MS,
                            .request_ms = options->request_ms,
                            .idle_ms = options->idle_ms,
                            .grace_ms = DEBUG_GRACE_MS};
}

static server_options_t own_options(const options_t *options) {
  server_options_t own = debug_options(options);
  own.name = "backends";
  own.host = "127.0.0.1";
  own.port = 0;
  own.routes = OWN_ROUTES;
  own.max_conns = options->transfers;
  own.max_ms = UINT64_MAX / MS_NS;
  own.idle_ms = UINT32_MAX; /* curl keeps its connections */
  own.on_listening = on_own_listening;
  return own;
}

static server_options_t app_options(const options_t *options) {
  server_options_t app = debug_options(options);
  app.name = "app";
  app.port = (int)options->port;
  app.routes = APP_ROUTES;
  app.max_conns = options->max_conns;
  app.max_requests = options->limit;
  app.max_ms = options->max_ms;
  app.margin_ms = options->margin_ms;
  app.not_ready_ms = options->not_ready_ms;
  app.lame_duck_ms = options->lame_duck_ms;
  app.grace_ms = options->grace_ms;
  app.on_listening = on_app_listening;
  app.on_step = on_app_step;
  app.on_drained = on_app_drained;
  app.on_answer = on_app_answer;
  return app;
}

static void add_services(gateway_t *gateway) {
  server_options_t debug = debug_options(&gateway->options);
  server_options_t own = own_options(&gateway->options);
  server_options_t app = app_options(&gateway->options);
  gateway->has_own = !gateway->options.backends;
  if (gateway->has_own) add_service(gateway, &gateway->own, &own);
  add_service(gateway, &gateway->debug, &debug);
  add_service(gateway, &gateway->app, &app);
}

/* --- the end ------------------------------------------------------------------------------------------------- */

/* Called by uvflow when the last /fan has ended. */
static void on_fans_over(uvf_wait_t *wait, int status) {
  gateway_t *gateway = container_of(wait, gateway_t, backends.wait);
  (void)status;
  http_close(&gateway->backends.http);
  uvf_ctx_close(gateway->root, NULL); /* and with it all that is bound to it */
}

/* Called by uvflow when no server runs any more. */
static void on_all_ended(uvf_services_t *services, int status) {
  gateway_t *gateway = container_of(services, gateway_t, services);
  if (status) {
    fprintf(stderr, "gateway: stopped: the server \"%s\" failed: %s\n", services->first ? services->first->name : "?",
            uv_strerror(status));
    gateway->status = EXIT_NOT_DONE;
  }
  backends_close(&gateway->backends, gateway->root, on_fans_over);
}

/* Called by uvflow at the first SIGINT or SIGTERM; the second one ends the program. */
static void on_signal(uvf_signals_t *signals, int signum) {
  gateway_t *gateway = container_of(signals, gateway_t, signals);
  if (!gateway->options.quiet) printf("gateway: signal %d, draining\n", signum);
  if (gateway->app.listener.open)
    server_drain(&gateway->app);
  else
    uvf_services_stop(&gateway->services);
}

/* --- the beginning ------------------------------------------------------------------------------------------- */

/* However far it comes, closing the root undoes it. */
static int start(gateway_t *gateway) {
  int err = uvf_signals_start(gateway->root, &gateway->signals, NULL, 0, on_signal, NULL);
  if (err) return complain("signals", err);
  if ((err = stats_start(&gateway->stats, gateway->root))) return complain("pipeline", err);
  if ((err = backends_open(&gateway->backends, gateway->root, gateway->options.transfers)))
    return complain("curl", err);
  err = uvf_services_run(gateway->root, &gateway->services, gateway->list, gateway->count, on_all_ended);
  if (!err) return 0;
  http_close(&gateway->backends.http);
  return complain("services", err);
}

static int run(gateway_t *gateway) {
  int err = uv_loop_init(&gateway->loop);
  if (err) {
    complain("loop", err);
    return EXIT_NOT_DONE;
  }
  err = uvf_ctx_background(&gateway->loop, &gateway->root);
  if (err) {
    complain("root", err);
    uv_loop_close(&gateway->loop);
    return EXIT_NOT_DONE;
  }
  add_services(gateway);
  err = start(gateway);
  if (err) {
    gateway->status = EXIT_NOT_DONE;
    uvf_ctx_close(gateway->root, NULL);
  }
  uv_run(&gateway->loop, UV_RUN_DEFAULT); /* returns when nothing is left that could happen */
  server_free(&gateway->app);
  server_free(&gateway->debug);
  if (gateway->has_own) server_free(&gateway->own);
  err = uv_loop_close(&gateway->loop);
  if (err) { /* a handle was left: an error of this program */
    complain("closing the loop", err);
    gateway->status = EXIT_NOT_DONE;
  }
  print_end(gateway);
  return gateway->status;
}

int main(int argc, char **argv) {
  static gateway_t gateway;
  signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of one write, not the end of the program */
  keep_heap();
  setvbuf(stdout, NULL, _IOLBF, 0);
  int wanted = options_parse(&gateway.options, argc, argv);
  if (wanted != OPTIONS_RUN) return wanted == OPTIONS_HELP ? EXIT_DONE : EXIT_USAGE;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    fputs("gateway: curl_global_init failed\n", stderr);
    return EXIT_NOT_DONE;
  }
  int status = EXIT_USAGE;
  if (!gateway.options.backends || backends_parse(&gateway.backends, gateway.options.backends) == 0)
    status = run(&gateway);
  backends_free(&gateway.backends);
  curl_global_cleanup();
  return status;
}
