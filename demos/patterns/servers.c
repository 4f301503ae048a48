/* SPDX-License-Identifier: MIT
 *
 * servers: an application server and its debug server, which live and die together.
 *
 * A program whose debug port has died must not go on unnoticed, and one whose application is gone must not go on being
 * probed: whichever ends first, for whatever reason, ends the other, and the program ends when both are gone. Each
 * server's life is bound to a context by one line, and its end is said in one place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { SERVERS = 2, MOST_MS = 3600000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char *const NAMES[SERVERS + 1] = {"app", "debug", "none"};

static const char HELP[] = "Usage: servers [--help] [--fail app|debug|none] [--after MS]\n"
                           "Runs an application server and a debug server until one of them ends.\n"
                           "  --fail WHICH  which of them breaks down; none: both are asked to stop; default none\n"
                           "  --after MS    when that happens; 1 to 3600000, default 200\n"
                           "Exit status: 0 both stopped as asked, 1 one broke down, 2 the command line is wrong.\n";

typedef struct server_s {
  uv_tcp_t tcp;
  uvf_guard_t guard;
  uvf_service_t *service;
} server_t;

typedef struct program_s {
  uvf_ctx_t *ctx;
  uvf_services_t services;
  uvf_service_t list[SERVERS];
  server_t servers[SERVERS];
  uv_timer_t fate;
  int fails; /* an index of NAMES */
  int status;
} program_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "servers: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by libuv once the listener is closed: by the end of its context, or because it broke down. */
static void on_server_closed(uv_handle_t *handle) {
  uvf_service_t *service = container_of(handle, server_t, tcp)->service;
  int told = uvf_ctx_err(service->ctx) != 0;
  printf("%s: %s\n", service->name, told ? "stopped, as told" : "broke down");
  uvf_service_ended(service, told ? 0 : UV_ECONNABORTED);
}

static void on_client_closed(uv_handle_t *handle) { free(handle); }

/* Called by libuv. A client is greeted and sent away. */
static void on_client(uv_stream_t *listener, int status) {
  uvf_service_t *service = container_of(listener, server_t, tcp)->service;
  char text[64];
  uv_buf_t buf = uv_buf_init(text, (unsigned int)snprintf(text, sizeof(text), "this is %s\n", service->name));
  uv_tcp_t *client = status ? NULL : malloc(sizeof(*client));
  if (!client) return;
  if (uv_tcp_init(listener->loop, client)) {
    free(client);
    return;
  }
  if (!uv_accept(listener, (uv_stream_t *)client) && uv_try_write((uv_stream_t *)client, &buf, 1) > 0)
    printf("%s: greeted a client\n", service->name);
  uv_close((uv_handle_t *)client, on_client_closed);
}

/* Called by uvflow, for one after the other. */
static int start_server(uvf_service_t *service) {
  server_t *server = service->data;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  server->service = service;
  int err = uv_tcp_init(uvf_ctx_loop(service->ctx), &server->tcp);
  if (err) return err;
  err = uv_ip4_addr("127.0.0.1", 0, &addr);
  if (!err) err = uv_tcp_bind(&server->tcp, (const struct sockaddr *)&addr, 0);
  if (!err) err = uv_listen((uv_stream_t *)&server->tcp, 16, on_client);
  if (!err) err = uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&addr, &len);
  /* The line that binds its life to the context: */
  if (!err) err = uvf_guard_start(service->ctx, &server->guard, (uv_handle_t *)&server->tcp, on_server_closed);
  if (err) uv_close((uv_handle_t *)&server->tcp, NULL);
  if (!err) printf("%s: listening on port %d\n", service->name, ntohs(addr.sin_port));
  fflush(stdout);
  return err;
}

static void on_fate(uv_timer_t *timer) {
  program_t *program = container_of(timer, program_t, fate);
  uv_close((uv_handle_t *)timer, NULL);
  if (program->fails == SERVERS) {
    printf("both are asked to stop\n");
    uvf_ctx_cancel(program->ctx);
  } else {
    uvf_guard_close(&program->servers[program->fails].guard);
  }
}

static void on_all_ended(uvf_services_t *services, int status) {
  program_t *program = container_of(services, program_t, services);
  /* The cancel was ours, so it is no failure. */
  program->status = status == UV_ECANCELED && program->fails == SERVERS ? 0 : status;
  printf("all have ended; the first was %s; %s\n", services->first ? services->first->name : "nobody in particular",
         program->status ? uv_strerror(program->status) : "no error");
  if (!uv_is_closing((uv_handle_t *)&program->fate)) uv_close((uv_handle_t *)&program->fate, NULL);
}

static int serve(uv_loop_t *loop, uvf_ctx_t *root, int fails, uint64_t after_ms) {
  program_t program = {.fails = fails, .status = UV_ECANCELED};
  int err = uvf_ctx_with_cancel(root, &program.ctx);
  if (err) return fail("context", err);
  for (int i = 0; i < SERVERS; i++) {
    program.list[i].name = NAMES[i];
    program.list[i].start = start_server;
    program.list[i].data = &program.servers[i];
  }
  err = uv_timer_init(loop, &program.fate);
  if (!err) {
    err = uv_timer_start(&program.fate, on_fate, after_ms, 0);
    if (!err) err = uvf_services_run(program.ctx, &program.services, program.list, SERVERS, on_all_ended);
    if (err) uv_close((uv_handle_t *)&program.fate, NULL);
  }
  uv_run(loop, UV_RUN_DEFAULT);
  uvf_ctx_release(program.ctx);
  if (err) return fail("start", err);
  return program.status ? EXIT_NOT_DONE : EXIT_DONE;
}

static int run(int fails, long after_ms) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : serve(&loop, root, fails, (uint64_t)after_ms);
  if (!err) uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&loop);
  return err ? fail("closing the loop", err) : status;
}

/* A number from 1 to most, or 0. */
static long number(const char *text, long most) {
  char *end;
  long n = text ? strtol(text, &end, 10) : 0;
  return n >= 1 && n <= most && !*end ? n : 0;
}

/* An index of NAMES, or -1. */
static int which(const char *text) {
  for (int i = 0; text && i <= SERVERS; i++)
    if (strcmp(text, NAMES[i]) == 0) return i;
  return -1;
}

int main(int argc, char **argv) {
  int fails = SERVERS;
  long after_ms = 200;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--fail") == 0 && (fails = which(argv[i + 1])) >= 0) continue;
    if (strcmp(argv[i], "--after") == 0 && (after_ms = number(argv[i + 1], MOST_MS))) continue;
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(fails, after_ms);
}
