/* SPDX-License-Identifier: MIT
 *
 * sigterm_load: SIGTERM under load, again and again. Each round starts a gateway, loads it with requests that are
 * numbered and, with --wrk, with wrk as well, and sends SIGTERM at a moment that chance chooses. It must end with exit
 * status 0, and no request that it accepted may be lost: by its own count, and by the numbers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "subject.h"
#include "support.h"
#include "table.h"

static const char HELP[] =
    "Usage: sigterm_load --gateway PROGRAM [OPTION]...\n"
    "SIGTERM under load: exit status 0 and no lost request, in every round.\n"
    "\n"
    "  --rounds N         default 20\n"
    "  --connections N    of the client that numbers its requests; default 200\n"
    "  --before-ms MS     the signal comes this long after the start at the latest; default 1500\n"
    "  --wrk PROGRAM      loads it as well, in every second round\n"
    "\n"
    "UVF_TEST_SEED repeats the moments of an earlier run.\n"
    "Exit status: 0; 1 something was lost or wrong; 2 the command line is wrong.\n";

enum { FIRST_MS = 50, STOP_MS = 30000 };

typedef struct options_s {
  const char *gateway, *wrk;
  size_t rounds, connections, before_ms;
} options_t;

static size_t lost_in_all;

/* Requests that wrk has seen answered: of "  17 requests in 2.00s, 1.00MB read". */
static size_t answered_of_wrk(const child_t *wrk) {
  const char *at = wrk->out.at ? strstr(wrk->out.at, " requests in ") : NULL;
  while (at && at > wrk->out.at && at[-1] >= '0' && at[-1] <= '9') at--;
  return at ? strtoull(at, NULL, 10) : 0;
}

static void start_wrk(child_t *wrk, uv_loop_t *loop, const char *program, int port) {
  static char url[64];
  /* Longer than the gateway lives: wrk leaves no request behind, and reads what it is sent to the end. */
  static const char *argv[] = {NULL, "-t1", "-c50", "-d3", url, NULL};
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/slow?ms=5", port);
  argv[0] = program;
  memset(wrk, 0, sizeof(*wrk));
  wrk->argv = argv;
  child_start(wrk, loop);
}

static void print_row(size_t number, uint64_t after_ms, const load_t *load, const subject_t *subject, size_t by_wrk,
                      size_t lost) {
  char statuses[256];
  size_t before = subject->begun_before; /* asked by subject_start */
  printf("%5zu  %5llu  %7zu  %8zu  %7zu  %7zu  %7zu  %7zu  %8zu  %4zu  %4lld  %6llu  %s\n", number,
         (unsigned long long)after_ms, load->sent, load->answered, load->crossed, load->refused, by_wrk,
         subject->begun - before, subject->answered - before, lost, (long long)subject->exit_status,
         (unsigned long long)(subject->stop_ns / MS_NS),
         describe_statuses(load->by_status, statuses, sizeof(statuses)));
  fflush(stdout);
}

/* begun: of this client's requests, by the gateway's count. */
static void check_round(const char *who, const load_t *load, size_t begun, size_t lost) {
  check(load->answered > 0, "%s: nothing was answered", who);
  check(lost == 0, "%s: %zu requests that were accepted got no answer", who, lost);
  check(begun == load->answered, "%s: the gateway began %zu, and %zu were answered", who, begun, load->answered);
  check(load->sent == load->answered + load->cut + load->crossed, "%s: the account is wrong", who);
  check(!load->wrong_status && !load->wrong_number, "%s: wrong answers: %zu status, %zu number; the first: %s", who,
        load->wrong_status, load->wrong_number, load->wrong);
}

static void run_round(uv_loop_t *loop, const options_t *options, size_t number, uint64_t after_ms) {
  /* With time for clients to notice, and without. */
  static const char *const arguments[][7] = {
      {"--max-ms", "20000", "--grace-ms", "10000", NULL},
      {"--max-ms", "20000", "--grace-ms", "10000", "--lame-duck-ms", "0", NULL},
  };
  char who[32];
  subject_t subject;
  load_t load;
  child_t wrk;
  int with_wrk = options->wrk && number % 2 == 0;
  snprintf(who, sizeof(who), "round %zu", number);
  if (!subject_start(&subject, loop, options->gateway, 0, arguments[number / 2 % 2])) return;
  memset(&load, 0, sizeof(load));
  load.port = subject.port;
  load.connections = options->connections;
  load.mix = "slow,healthz,echo,work,late,long,fan";
  load.may_refuse = 1;
  if (!load_start(&load, loop)) abort();
  if (with_wrk) start_wrk(&wrk, loop, options->wrk, subject.port);
  pass_time(loop, after_ms);
  subject_signal(&subject, SIGTERM);
  subject_wait(&subject, who, patient_ms(STOP_MS));
  load_stop(&load);
  if (!check(await_zero(loop, &load.open, patient_ms(STOP_MS)), "%s: connections stay open", who)) exit(1);
  size_t by_wrk = 0;
  if (with_wrk) {
    child_wait(&wrk, loop);
    by_wrk = answered_of_wrk(&wrk);
    child_free(&wrk);
  }
  size_t lost = load_lost(&load, subject.begun - subject.begun_before - by_wrk);
  print_row(number, after_ms, &load, &subject, by_wrk, lost);
  check_round(who, &load, subject.begun - subject.begun_before - by_wrk, lost);
  lost_in_all += lost;
  load_free(&load);
}
int main(int argc, char **argv) {
  options_t o = {NULL, NULL, 20, 200, 1500};
  uv_loop_t loop;
  const option_t options[] = {{"--gateway", &o.gateway, NULL},     {"--wrk", &o.wrk, NULL},
                              {"--rounds", NULL, &o.rounds},       {"--connections", NULL, &o.connections},
                              {"--before-ms", NULL, &o.before_ms}, {NULL, NULL, NULL}};
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0) return status;
  if (!o.gateway || !o.rounds || !o.connections || o.before_ms <= FIRST_MS) {
    fprintf(stderr, "sigterm_load: wants --gateway, and numbers that are not too small\n");
    return 2;
  }
  uint64_t random = test_seed();
  if (uv_loop_init(&loop)) abort();
  printf("SIGTERM under load: %zu connections that number their requests%s\n", o.connections,
         o.wrk ? "; every second round also 50 connections of wrk" : "");
  printf("round  at ms     sent  answered  crossed  refused  by wrk   begun   answered  lost  exit  end ms  status\n");
  printf("       (the client that numbers)                             (the gateway)\n");
  for (size_t i = 1; i <= o.rounds; i++)
    run_round(&loop, &o, i, FIRST_MS + test_rand(&random) % (o.before_ms - FIRST_MS));
  printf("%zu rounds, %zu requests lost, %d checks failed\n", o.rounds, lost_in_all, checks_failed());
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  return checks_failed() > 0;
}
