/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define DAY_MS UINT64_C(86400000)
enum {
  MOST_PORT = 65535,
  MOST_CONNS = 10000,
  DESCRIPTORS_OF_THE_PROGRAM = 40, /* the loop, listeners, pipes, files, a look-up of a name */
  DESCRIPTORS_OF_A_TRANSFER = 2,   /* two families of addresses at once; or the other end, if that is ours too */
  DEBUG_CONNS = 16
};

static const char HELP[] =
    "Usage: gateway [OPTION]...\n"
    "An HTTP/1.1 and HTTP/2 gateway: every request has a deadline, and everything done for it ends with it.\n"
    "\n"
    "  --port N, --debug-port N   where it listens; default 0: any free port\n"
    "  --host ADDRESS             default 127.0.0.1\n"
    "  --max-ms MS                the longest deadline of a request; default 1000\n"
    "  --margin-ms MS             taken off it, for the answer to get out; default 10\n"
    "  --limit N                  requests in flight, more are shed with 503; default 256\n"
    "  --backends URL[,URL]...    whom /fan asks; default: three that run in the program\n"
    "  --max-conns N              open connections; default: what the limit of open files allows\n"
    "  --request-ms MS            a request must be complete so long after its first byte; default 5000\n"
    "  --idle-ms MS               a connection may be without a request; default 10000\n"
    "  --max-body BYTES           of a request; default 65536\n"
    "  --not-ready-ms MS          the drain: how long only /healthz says so; default 0\n"
    "  --lame-duck-ms MS          then: how long clients are asked to go, and are served; and again so\n"
    "                             long, for connections accepted last to get their refusal; default 200\n"
    "  --grace-ms MS              then: how long requests in flight are waited for; default 5000\n"
    "  --quiet                    print nothing but the ports and the last line\n"
    "  --help                     print this\n"
    "\n"
    "Paths: /healthz, /work?ms=N (a job), /slow?ms=N (a wait), /fan?n=N&ms=M (asks N backends), POST /echo.\n"
    "Debug: /contexts, /counters, /pipelines.\n"
    "A request's deadline comes from grpc-timeout or x-envoy-expected-rq-timeout-ms.\n"
    "SIGTERM or SIGINT drains: no new work, what is under way is answered. A second one ends the program at once.\n"
    "\n"
    "Exit status: 0 drained; 1 a server failed; 2 the command line is wrong; 128 + signal: the second signal.\n";

static int wrong(const char *what, const char *arg) {
  fprintf(stderr, "gateway: %s '%s'; see gateway --help\n", what, arg);
  return OPTIONS_WRONG;
}

/* Digits only: strtoull alone would take "-1" for a very large number. */
static int parse_number(const char *name, const char *text, uint64_t least, uint64_t most, uint64_t *number) {
  errno = 0;
  unsigned long long n = strtoull(text, NULL, 10);
  if (*text && strspn(text, "0123456789") == strlen(text) && !errno && n >= least && n <= most) {
    *number = n;
    return OPTIONS_RUN;
  }
  fprintf(stderr, "gateway: %s: '%s' is not a number from %llu to %llu\n", name, text, (unsigned long long)least,
          (unsigned long long)most);
  return OPTIONS_WRONG;
}

/* Shares the descriptors out: connections of clients get what is left when the program and its calls have theirs, since
 * a server that cannot open another descriptor can do nothing right. */
static int fit_descriptors(options_t *options) {
  struct rlimit limit;
  uint64_t descriptors = MOST_CONNS * 2;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < descriptors) descriptors = limit.rlim_cur;
  uint64_t taken = DESCRIPTORS_OF_THE_PROGRAM + DEBUG_CONNS;
  uint64_t left = descriptors > taken ? descriptors - taken : 0;
  options->transfers = left / 4 / DESCRIPTORS_OF_A_TRANSFER;
  if (options->transfers > MOST_TRANSFERS) options->transfers = MOST_TRANSFERS;
  uint64_t transfers = options->transfers * DESCRIPTORS_OF_A_TRANSFER;
  uint64_t fit = left > transfers ? left - transfers : 0;
  if (fit > MOST_CONNS) fit = MOST_CONNS;
  if (!options->transfers || !fit) {
    fprintf(stderr, "gateway: a limit of %llu open files is too low (ulimit -n)\n", (unsigned long long)descriptors);
    return OPTIONS_WRONG;
  }
  if (options->max_conns > fit)
    fprintf(stderr, "gateway: --max-conns: %llu, not %llu: the limit is %llu open files\n", (unsigned long long)fit,
            (unsigned long long)options->max_conns, (unsigned long long)descriptors);
  if (!options->max_conns || options->max_conns > fit) options->max_conns = fit;
  return OPTIONS_RUN;
}

/* The value of an option: "--name=value" or the next argument. */
static const char *value_of(const char *arg, size_t name_len, int argc, char **argv, int *i) {
  if (arg[name_len] == '=') return arg + name_len + 1;
  if (*i + 1 >= argc) return NULL;
  return argv[++*i];
}

/* One option with a value. */
static int parse_valued(options_t *options, int argc, char **argv, int *i) {
  const struct {
    const char *name;
    uint64_t *number;
    const char **text;
    uint64_t least, most;
  } known[] = {
      {"--port", &options->port, NULL, 0, MOST_PORT},
      {"--debug-port", &options->debug_port, NULL, 0, MOST_PORT},
      {"--host", NULL, &options->host, 0, 0},
      {"--max-ms", &options->max_ms, NULL, 1, DAY_MS},
      {"--margin-ms", &options->margin_ms, NULL, 0, DAY_MS},
      {"--limit", &options->limit, NULL, 1, UINT32_MAX},
      {"--backends", NULL, &options->backends, 0, 0},
      {"--max-conns", &options->max_conns, NULL, 1, MOST_CONNS},
      {"--request-ms", &options->request_ms, NULL, 1, DAY_MS},
      {"--idle-ms", &options->idle_ms, NULL, 1, DAY_MS},
      {"--max-body", &options->max_body, NULL, 1, UINT32_MAX},
      {"--not-ready-ms", &options->not_ready_ms, NULL, 0, DAY_MS},
      {"--lame-duck-ms", &options->lame_duck_ms, NULL, 0, DAY_MS},
      {"--grace-ms", &options->grace_ms, NULL, 0, DAY_MS},
  };
  const char *arg = argv[*i];
  for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
    size_t len = strlen(known[k].name);
    if (strncmp(arg, known[k].name, len) != 0 || (arg[len] && arg[len] != '=')) continue;
    const char *value = value_of(arg, len, argc, argv, i);
    if (!value) return wrong("no value after", arg);
    if (known[k].number) return parse_number(known[k].name, value, known[k].least, known[k].most, known[k].number);
    if (!*value) return wrong("no value after", arg);
    *known[k].text = value;
    return OPTIONS_RUN;
  }
  return wrong("unknown argument", arg);
}

int options_parse(options_t *options, int argc, char **argv) {
  *options = (options_t){.host = "127.0.0.1",
                         .max_ms = 1000,
                         .margin_ms = 10,
                         .limit = 256,
                         .lame_duck_ms = 200,
                         .grace_ms = 5000,
                         .request_ms = 5000,
                         .idle_ms = 10000,
                         .max_body = 65536};
  for (int i = 1; i < argc; i++) {
    int result = OPTIONS_RUN;
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      fputs(HELP, stdout);
      return OPTIONS_HELP;
    }
    if (strcmp(argv[i], "--quiet") == 0)
      options->quiet = 1;
    else
      result = parse_valued(options, argc, argv, &i);
    if (result != OPTIONS_RUN) return result;
  }
  return fit_descriptors(options);
}
