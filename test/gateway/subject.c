/* SPDX-License-Identifier: MIT
 *
 * 1. Everything runs on the one loop: while the subject is asked for something, clients on that loop go on.
 * 2. A program that ends before its subject kills it: nothing of a test stays behind.
 */
#include "subject.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum {
  START_MS = 20000,
  STOP_MS = 30000,
  REST_MS = 10000,
  POLL_MS = 20,
  AWAIT_MS = 20000,
  AWAIT_POLL_MS = 2,
  SETTLE_MS = 1,
  SETTLE_POLLS = 50,
  SETTLED = 3
};

static subject_t *running; /* one at a time */

static void kill_running(void) {
  if (running) uv_process_kill(&running->child.process, SIGKILL);
}

static void on_killed(int signum) {
  kill_running();
  _Exit(128 + signum);
}

static void kill_it_with_us(void) {
  static int done;
  if (done) return;
  done = 1;
  atexit(kill_running);
  signal(SIGINT, on_killed);
  signal(SIGTERM, on_killed);
}

/* --- what it holds -------------------------------------------------------------------------------------------- */

/* Open descriptors of the process; -1 where the system doesn't show them. */
static long count_descriptors(int pid) {
  char path[64];
  uv_fs_t req;
  snprintf(path, sizeof(path), "/proc/%d/fd", pid);
  long n = (long)uv_fs_scandir(NULL, &req, path, 0, NULL);
  uv_fs_req_cleanup(&req);
  return n < 0 ? -1 : n;
}

/* Connections to its own backends, whose server end stands below "backends". */
static long count_pooled(const char *contexts) {
  long n = 0;
  const char *line = strstr(contexts, "with_cancel \"backends\"");
  while (line && (line = strchr(line, '\n')) != NULL) {
    line++;
    if (strncmp(line, "├", strlen("├")) == 0 || strncmp(line, "└", strlen("└")) == 0) break; /* a branch of the root */
    if (strncmp(line + strcspn(line, "\"\n"), "\"connection\"", 12) == 0) n++;
  }
  return n;
}

/* Lines of the tree, but for those of pooled connections, two for each. -1: it could not be asked. */
static long count_contexts(subject_t *subject, long *pooled) {
  exchange_t x;
  long n = -1;
  *pooled = 0;
  if (get(&x, subject->loop, subject->debug_port, "/contexts", "") == 200) {
    *pooled = count_pooled(x.body.at);
    n = (long)count_lines(&x.body, "", NULL) - 2 * *pooled;
  }
  exchange_free(&x);
  return n;
}

int subject_look(subject_t *subject) {
  exchange_free(&subject->counters);
  return get(&subject->counters, subject->loop, subject->debug_port, "/counters", "") == 200;
}

long long subject_count(const subject_t *subject, const char *name) {
  size_t len = strlen(name);
  for (const char *line = subject->counters.body.at; line && *line; line = strchr(line, '\n'), line += line != NULL)
    if (strncmp(line, name, len) == 0 && line[len] == ' ') return atoll(line + len + 1);
  return -1;
}

void subject_await(subject_t *subject, const char *who, const char *name, long long least, long long most) {
  uint64_t until = uv_hrtime() + patient_ms(AWAIT_MS) * 1000000;
  long long n;
  while (subject_look(subject), n = subject_count(subject, name), (n < least || n > most) && uv_hrtime() < until)
    pass_time(subject->loop, AWAIT_POLL_MS);
  check(n >= least && n <= most, "%s: %s is %lld, not %lld", who, name, n, least);
}

/* What it holds more than it did, connections that are kept left out. */
static int at_rest(subject_t *subject, long *descriptors, long *contexts) {
  long pooled, open = count_descriptors(subject->child.process.pid); /* first: to be asked costs it one for a while */
  *contexts = count_contexts(subject, &pooled) - subject->contexts;
  *descriptors = open - subject->descriptors - 2 * pooled;
  if (subject->kept) *descriptors -= (long)*subject->kept;
  return subject_look(subject) && subject_count(subject, "in_flight") == 0 &&
         subject_count(subject, "connections") == 0 && *contexts <= 0 && *descriptors <= 0;
}

void subject_check_at_rest(subject_t *subject, const char *who, char *text, size_t size) {
  uint64_t until = uv_hrtime() + patient_ms(REST_MS) * 1000000;
  long descriptors, contexts;
  int rests;
  while (!(rests = at_rest(subject, &descriptors, &contexts)) && uv_hrtime() < until) pass_time(subject->loop, POLL_MS);
  snprintf(text, size, "in flight %lld, connections %lld, contexts %+ld, descriptors %+ld",
           subject_count(subject, "in_flight"), subject_count(subject, "connections"), contexts, descriptors);
  check(rests, "%s: left behind: %s", who, text);
}

/* --- start and end -------------------------------------------------------------------------------------------- */

static int await_listening(subject_t *subject) {
  uint64_t until = uv_hrtime() + patient_ms(START_MS) * 1000000;
  while (subject->child.open && uv_hrtime() < until) {
    const char *line = subject->child.out.at ? strstr(subject->child.out.at, "listening on ") : NULL;
    if (line && strchr(line, '\n'))
      return sscanf(line, "listening on http://127.0.0.1:%d debug http://127.0.0.1:%d", &subject->port,
                    &subject->debug_port) == 2;
    pass_time(subject->loop, 2);
  }
  return 0;
}

/* What it holds at rest is the least it is seen to hold: it may be at closing what we have left. */
static void settle(subject_t *subject) {
  long pooled;
  subject->contexts = subject->descriptors = LONG_MAX;
  for (int i = 0, rests = 0; i < SETTLE_POLLS && rests < SETTLED; i++) {
    long contexts = count_contexts(subject, &pooled);
    pass_time(subject->loop, SETTLE_MS);
    long descriptors = count_descriptors(subject->child.process.pid);
    rests = contexts >= subject->contexts && descriptors >= subject->descriptors ? rests + 1 : 0;
    if (contexts < subject->contexts) subject->contexts = contexts;
    if (descriptors < subject->descriptors) subject->descriptors = descriptors;
  }
  subject_look(subject);
  subject->begun_before = (size_t)subject_count(subject, "begun");
}

int subject_start(subject_t *subject, uv_loop_t *loop, const char *program, int descriptors,
                  const char *const *options) {
  size_t n = 0;
  memset(subject, 0, sizeof(*subject));
  subject->loop = loop;
  if (descriptors) {
    snprintf(subject->limit, sizeof(subject->limit), "%d", descriptors);
    const char *const shell[] = {"/bin/sh", "-c", "ulimit -n \"$0\" && exec \"$@\"", subject->limit};
    for (; n < sizeof(shell) / sizeof(shell[0]); n++) subject->argv[n] = shell[n];
  }
  subject->argv[n++] = program;
  while (options && *options && n + 1 < SUBJECT_OPTIONS) subject->argv[n++] = *options++;
  subject->child.argv = subject->argv;
  kill_it_with_us();
  child_start(&subject->child, loop);
  running = subject;
  if (!check(await_listening(subject), "%s does not listen; it said: %s%s", program,
             subject->child.out.at ? subject->child.out.at : "", subject->child.err.at ? subject->child.err.at : "")) {
    subject_signal(subject, SIGKILL);
    child_wait(&subject->child, loop);
    running = NULL;
    child_free(&subject->child);
    return 0;
  }
  /* The first of each kind may make what then stays. */
  exchange_t x;
  get(&x, loop, subject->port, "/healthz", "");
  exchange_free(&x);
  settle(subject);
  return 1;
}

void subject_signal(subject_t *subject, int signum) {
  if (subject->child.open) uv_process_kill(&subject->child.process, signum);
}

static void read_last_line(subject_t *subject) {
  const char *line = subject->child.out.at ? strstr(subject->child.out.at, "gateway: done ") : NULL;
  subject->begun = subject->answered = subject->cut = subject->lost = SIZE_MAX;
  if (line)
    sscanf(line, "gateway: done begun=%zu answered=%zu cut=%zu lost=%zu", &subject->begun, &subject->answered,
           &subject->cut, &subject->lost);
}

void subject_wait(subject_t *subject, const char *who, uint64_t limit_ms) {
  child_t *child = &subject->child;
  uint64_t from = uv_hrtime();
  if (!check(await_zero(subject->loop, &child->open, limit_ms), "%s: still runs %llu ms after the signal", who,
             (unsigned long long)limit_ms)) {
    subject_signal(subject, SIGKILL);
    child_wait(child, subject->loop);
    subject->exit_status = -1;
  } else {
    subject->exit_status = child->signal ? 128 + child->signal : child->exit_status;
  }
  running = NULL;
  subject->stop_ns = uv_hrtime() - from;
  read_last_line(subject);
  check(subject->exit_status == subject->wanted_exit, "%s: exit status %lld: %s", who, (long long)subject->exit_status,
        child->err.at ? child->err.at : "");
  check(subject->wanted_exit || (subject->begun != SIZE_MAX && subject->begun == subject->answered && !subject->lost &&
                                 subject->cut == subject->wanted_cut),
        "%s: begun %zd, answered %zd, cut %zd, lost %zd", who, (ssize_t)subject->begun, (ssize_t)subject->answered,
        (ssize_t)subject->cut, (ssize_t)subject->lost);
  exchange_free(&subject->counters);
  child_free(child);
}

void subject_stop(subject_t *subject, const char *who) {
  subject_signal(subject, SIGTERM);
  subject_wait(subject, who, patient_ms(STOP_MS));
}
