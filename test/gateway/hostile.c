/* SPDX-License-Identifier: MIT
 *
 * hostile: clients that mean no good, each kind against a gateway of its own. What each case checks: they are answered
 * or closed, as the case says and in time; others, who ask on two connections all the while, are served; afterwards
 * nothing is left of them, and the gateway ends well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/resource.h>
#endif

#include "hostile.h"
#include "support.h"

static const char HELP[] =
    "Usage: hostile --gateway PROGRAM [OPTION]...\n"
    "Attacks gateways in many ways; prints what the attackers saw, and how others were served meanwhile.\n"
    "\n"
    "  --only NAME    just that case\n"
    "  --full 1       attackers at full number and as slow as they are in life; takes minutes\n"
    "\n"
    "Exit status: 0; 1 a gateway did not stand it; 2 the command line is wrong.\n";

/* As many connections as the system lets us have. */
static void raise_limit(void) {
#ifndef _WIN32
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
#endif
}

static void start_others(scene_t *scene, int may) {
  load_t *others = &scene->others;
  memset(others, 0, sizeof(*others));
  others->may_refuse = may == OTHERS_REFUSED;
  others->port = scene->subject.port;
  others->connections = 2;
  others->mix = "healthz,slow,echo,work";
  if (!load_start(others, scene->loop)) abort();
}

/* They must have been served well, and must not have waited for the attackers. */
static void check_others(scene_t *scene, const char *who, int may) {
  load_t *others = &scene->others;
  load_stop(others);
  if (!check(await_zero(scene->loop, &others->open, patient_ms(20000)), "%s: others get no answer", who)) exit(1);
  check(others->answered >= 20, "%s: only %zu requests of others were answered", who, others->answered);
  check(others->slowest_ns <= patient_ms(3000) * MS_NS, "%s: another waited %llu ms", who,
        (unsigned long long)(others->slowest_ns / MS_NS));
  check(!others->cut && !others->refused && (may == OTHERS_CROSSED || !others->crossed),
        "%s: others: cut %zu, crossed %zu, refused %zu", who, others->cut, others->crossed, others->refused);
  if (may == OTHERS_CROSSED) { /* the attackers ask nothing: what was begun is theirs */
    subject_look(&scene->subject);
    size_t begun = (size_t)subject_count(&scene->subject, "begun") - scene->subject.begun_before;
    check(begun == others->answered, "%s: others: begun %zu, answered %zu", who, begun, others->answered);
  }
  check(!others->wrong_status && !others->wrong_number, "%s: others: wrong: %zu status, %zu number; the first: %s", who,
        others->wrong_status, others->wrong_number, others->wrong);
}

/* The limits of a gateway as it is. */
static const char *const LIFE[] = {"--lame-duck-ms", "0", NULL};

static void run_case(uv_loop_t *loop, const char *gateway, const hostile_t *hostile, int full, uint64_t *random) {
  scene_t scene;
  char statuses[128], rest[128];
  memset(&scene, 0, sizeof(scene));
  scene.loop = loop;
  scene.full = full;
  scene.random = random;
  scene.who = hostile->name;
  if (!subject_start(&scene.subject, loop, gateway, hostile->descriptors, full ? LIFE : hostile->options)) return;
  start_others(&scene, hostile->others);
  uint64_t from = uv_hrtime();
  hostile->attack(&scene);
  uint64_t took_ms = (uv_hrtime() - from) / MS_NS;
  /* A quick attack is over before others were served twenty times. */
  uint64_t until = uv_hrtime() + patient_ms(5000) * MS_NS;
  while (scene.others.answered < 20 && uv_hrtime() < until) pass_time(loop, 5);
  check_others(&scene, hostile->name, hostile->others);
  subject_check_at_rest(&scene.subject, hostile->name, rest, sizeof(rest));
  check(subject_count(&scene.subject, "jobs") == 0, "%s: %lld jobs are left", hostile->name,
        subject_count(&scene.subject, "jobs"));
  subject_stop(&scene.subject, hostile->name);
  describe_statuses(scene.by_status, statuses, sizeof(statuses));
  printf("%-16s  %7zu  %8zu  %-24s  %7zu  %6llu  %6zu  %6llu  %4lld  %s\n", hostile->name, scene.sent, scene.answered,
         statuses, scene.closed, (unsigned long long)took_ms, scene.others.answered,
         (unsigned long long)(scene.others.slowest_ns / MS_NS), (long long)scene.subject.exit_status, rest);
  if (scene.note[0]) printf("%-16s  %s\n", "", scene.note);
  fflush(stdout);
  load_free(&scene.others);
}

int main(int argc, char **argv) {
  const char *gateway = NULL, *only = NULL;
  size_t full = 0, ran = 0;
  const option_t options[] = {
      {"--gateway", &gateway, NULL}, {"--only", &only, NULL}, {"--full", NULL, &full}, {NULL, NULL, NULL}};
  uv_loop_t loop;
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0 || !gateway) return status >= 0 ? status : 2;
  raise_limit();
  uint64_t random = test_seed();
  if (uv_loop_init(&loop)) abort();
  printf("%-16s  %7s  %8s  %-24s  %7s  %6s  %6s  %6s  %4s  %s\n", "attackers", "sent", "answered", "status seen",
         "closed", "in ms", "others", "max ms", "exit", "left behind");
  for (const hostile_t *hostile = HOSTILES; hostile->name; hostile++) {
    if (only && strcmp(only, hostile->name) != 0) continue;
    run_case(&loop, gateway, hostile, full != 0, &random);
    ran++;
  }
  check(ran > 0, "there is no case '%s'", only ? only : "");
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  printf("%d checks failed\n", checks_failed());
  return checks_failed() > 0;
}
