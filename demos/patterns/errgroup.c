/* SPDX-License-Identifier: MIT
 *
 * errgroup: several URLs fetched at once; the first failure hangs up on all the others.
 *
 * Each fetch is a task of one group, on the pool, and blocks in libcurl. A watcher on the group's context wakes it when
 * the group has failed. Without URLs it fetches from three tiny servers of its own: one answers, one fails after
 * 100 ms, one never says a word.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { SERVERS = 3, FETCHES_MOST = 64, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: errgroup [--help] [URL...]\n"
    "Fetches up to 64 URLs at once and stops at the first failure; without URLs, from its own servers.\n"
    "Exit status: 0 all were fetched, 1 not all, 2 the command line is wrong.\n";

/* --- tiny servers, on the loop ------------------------------------------------------------------------------- */

typedef struct server_s {
  const char *answer; /* NULL: none */
  uint64_t delay_ms;
  uv_tcp_t listener, client; /* one client is all that will come */
  uv_timer_t timer;
  uvf_guard_t guards[3];
  char url[64];
} server_t;

static void on_time_to_answer(uv_timer_t *timer) {
  server_t *server = container_of(timer, server_t, timer);
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)server->answer, (unsigned int)strlen(server->answer));
  if (uv_try_write((uv_stream_t *)&server->client, &buf, 1) < 0) uvf_guard_close(&server->guards[1]);
}

static void on_client(uv_stream_t *listener, int err) {
  server_t *server = container_of(listener, server_t, listener);
  if (!err) err = uv_accept(listener, (uv_stream_t *)&server->client);
  if (!err && server->answer) err = uv_timer_start(&server->timer, on_time_to_answer, server->delay_ms, 0);
  if (err) fprintf(stderr, "errgroup: client: %s\n", uv_strerror(err));
}

/* What has been bound to ctx is closed with it, also after a failure. */
static int server_start(uvf_ctx_t *ctx, server_t *server) {
  uv_loop_t *loop = uvf_ctx_loop(ctx);
  uv_handle_t *handles[] = {(uv_handle_t *)&server->listener, (uv_handle_t *)&server->client,
                            (uv_handle_t *)&server->timer};
  struct sockaddr_in addr;
  int len = sizeof(addr), err = uv_ip4_addr("127.0.0.1", 0, &addr);
  for (int i = 0; i < 3 && !err; i++) {
    err = i < 2 ? uv_tcp_init(loop, (uv_tcp_t *)handles[i]) : uv_timer_init(loop, &server->timer);
    if (!err && (err = uvf_guard_start(ctx, &server->guards[i], handles[i], NULL))) uv_close(handles[i], NULL);
  }
  if (!err) err = uv_tcp_bind(&server->listener, (const struct sockaddr *)&addr, 0);
  if (!err) err = uv_listen((uv_stream_t *)&server->listener, 8, on_client);
  if (!err) err = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&addr, &len);
  if (!err) snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d/", ntohs(addr.sin_port));
  return err;
}

/* --- fetching ------------------------------------------------------------------------------------------------ */

typedef struct fetch_s {
  uvf_task_t task;
  uvf_watch_t watch;
  const char *url;
  CURLM *multi;
  char why[CURL_ERROR_SIZE];
} fetch_t;

static size_t ignore_body(char *data, size_t size, size_t n, void *user) {
  (void)data, (void)user;
  return size * n;
}

/* Drives one transfer until it is through or the group is over. */
static CURLcode drive(const fetch_t *fetch, CURL *easy) {
  int running = 1, left;
  CURLMcode code = curl_multi_add_handle(fetch->multi, easy);
  while (!code && running) {
    if (uvf_task_err(&fetch->task)) return CURLE_ABORTED_BY_CALLBACK;
    code = curl_multi_perform(fetch->multi, &running);
    if (!code && running) code = curl_multi_poll(fetch->multi, NULL, 0, 1000, NULL); /* ended by on_group_over too */
  }
  CURLMsg *msg = code ? NULL : curl_multi_info_read(fetch->multi, &left);
  return msg ? msg->data.result : CURLE_FAILED_INIT;
}

/* Called by uvflow on a thread of the pool. */
static int fetch_url(uvf_task_t *task) {
  fetch_t *fetch = container_of(task, fetch_t, task);
  CURL *easy = curl_easy_init();
  if (!easy) return UV_ENOMEM;
  CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, fetch->url);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->why);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore_body);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
  if (!code) code = curl_easy_setopt(easy, CURLOPT_NOPROXY, "127.0.0.1");
  if (!code) code = drive(fetch, easy);
  if (code && !fetch->why[0]) snprintf(fetch->why, sizeof(fetch->why), "%s", curl_easy_strerror(code));
  curl_multi_remove_handle(fetch->multi, easy);
  curl_easy_cleanup(easy);
  return code ? UV_EIO : 0;
}

/* Called by uvflow on the loop when the group's context is over: the fetch looks at it. */
static void on_group_over(uvf_watch_t *watch, int status) {
  (void)status;
  curl_multi_wakeup(container_of(watch, fetch_t, watch)->multi);
}

static void on_fetched(uvf_task_t *task, int status) {
  fetch_t *fetch = container_of(task, fetch_t, task);
  uvf_watch_stop(&fetch->watch);
  curl_multi_cleanup(fetch->multi);
  printf("%s: %s\n", fetch->url,
         !status                  ? "fetched"
         : status == UV_ECANCELED ? "cancelled"
         : fetch->why[0]          ? fetch->why
                                  : uv_strerror(status));
}

static int fetch_start(uvf_group_t *group, fetch_t *fetch) {
  fetch->multi = curl_multi_init();
  if (!fetch->multi) return UV_ENOMEM;
  int err = uvf_ctx_on_done(group->ctx, &fetch->watch, on_group_over);
  if (!err && (err = uvf_group_go(group, &fetch->task, fetch_url, on_fetched))) uvf_watch_stop(&fetch->watch);
  if (err) curl_multi_cleanup(fetch->multi);
  return err;
}

/* --- the program --------------------------------------------------------------------------------------------- */

typedef struct program_s {
  uvf_ctx_t *servers_ctx;
  server_t servers[SERVERS];
  uvf_group_t group;
  uvf_wait_t wait;
  fetch_t fetches[FETCHES_MOST];
} program_t;

static void on_all_fetched(uvf_wait_t *wait, int status) {
  program_t *program = container_of(wait, program_t, wait);
  printf("the group: %s\n", status ? "the first failure ended it" : "all were fetched");
  uvf_ctx_cancel(program->servers_ctx);
}

static int fetch_all(uvf_ctx_t *root, program_t *program, char **urls, int n) {
  int err = 0;
  for (int i = 0; i < SERVERS && n == 0 && !err; i++) err = server_start(program->servers_ctx, &program->servers[i]);
  for (int i = 0; i < (n ? n : SERVERS) && !err; i++) {
    program->fetches[i].url = n ? urls[i] : program->servers[i].url;
    err = fetch_start(&program->group, &program->fetches[i]);
  }
  if (err) uvf_ctx_cancel(program->group.ctx); /* and wait for what was started */
  int waits = uvf_group_wait(root, &program->wait, &program->group, on_all_fetched);
  if (waits) uvf_ctx_cancel(program->servers_ctx);
  return err ? err : waits;
}

static int fetch_under(uvf_ctx_t *root, program_t *program, char **urls, int n) {
  int err = uvf_ctx_with_cancel(root, &program->servers_ctx);
  if (err) return err;
  err = uvf_group_init(&program->group, root, 0);
  if (!err) {
    err = fetch_all(root, program, urls, n);
    uv_run(uvf_ctx_loop(root), UV_RUN_DEFAULT);
    int closed = uvf_group_close(&program->group);
    if (!err) err = program->wait.status ? program->wait.status : closed;
  }
  uvf_ctx_release(program->servers_ctx);
  return err;
}

static int run(char **urls, int n) {
  static program_t program = {
      .servers = {{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"},
                  {.answer = "HTTP/1.1 503 Out of order\r\nContent-Length: 0\r\n\r\n", .delay_ms = 100},
                  {.answer = NULL}}};
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return err;
  if (!(err = uvf_ctx_background(&loop, &root))) {
    err = fetch_under(root, &program, urls, n);
    uvf_ctx_close(root, NULL);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  int closed = uv_loop_close(&loop);
  return err ? err : closed;
}

int main(int argc, char **argv) {
  int help = argc > 1 && strcmp(argv[1], "--help") == 0;
  if (help || (argc > 1 && argv[1][0] == '-') || argc > FETCHES_MOST + 1) {
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  if (curl_global_init(CURL_GLOBAL_DEFAULT)) return EXIT_NOT_DONE;
  int err = run(argv + 1, argc - 1);
  curl_global_cleanup();
  if (err && err != UV_EIO) fprintf(stderr, "errgroup: %s\n", uv_strerror(err));
  return err ? EXIT_NOT_DONE : EXIT_DONE;
}
