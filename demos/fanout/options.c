/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/resource.h>
#endif

#define DAY_MS UINT64_C(86400000)
enum {
  DEFAULT_TIMEOUT_MS = 30000,
  DEFAULT_CONCURRENCY = 64,
  MOST_CONCURRENCY = 10000,
  MOST_DESCRIPTORS = 200000, /* enough for that */
  /* Descriptors: what the program, the loop and curl hold whatever happens, and what one transfer may hold at once: a
   * socket for each of two address families, or the name lookup's pair and its own socket and files. */
  DESCRIPTORS_OF_THE_PROGRAM = 16,
  DESCRIPTORS_OF_A_TRANSFER = 5
};

static const char HELP[] =
    "Usage: fanout [OPTION]... [URL[|URL]...]...\n"
    "Asks many HTTP servers at once, under one deadline, and shows what each of them did.\n"
    "\n"
    "  --timeout MS      the deadline of the whole; default 30000\n"
    "  --per-request MS  a deadline for each request as well, from its start\n"
    "  --concurrency N   requests under way at once; default 64, lowered to what the limit of\n"
    "                    open files allows (fanout says so when it does)\n"
    "  --first N         N answers are enough: cancel the rest\n"
    "  --hedge MS        ask another replica when there is no answer after MS; the first answer\n"
    "                    wins and the others are cancelled\n"
    "  --file FILE       read URLs from FILE, one on each line; '#' begins a comment line;\n"
    "                    a FILE of '-', or '-' alone, is standard input\n"
    "  --json            print one JSON document in place of the table\n"
    "  --help            print this\n"
    "\n"
    "Replicas: URLs joined by '|' are one request, which any of them may answer (quote it:\n"
    "'http://a/x|http://b/x'). The next one is asked when those before have failed, or when --hedge's\n"
    "time has passed. With --hedge, a URL that has no replica is asked a second time itself.\n"
    "\n"
    "Without a URL fanout starts a few servers of its own on the loopback interface and asks those\n"
    "(defaults then: --timeout 1000 --per-request 300 --hedge 150 --concurrency 5 --first 7).\n"
    "\n"
    "Outcomes: ok, hedged (a later replica answered), failed (the reason is shown), deadline, cancelled.\n"
    "An HTTP status from 400 on is a failure.\n"
    "Each call tells its server what is left of its deadline (grpc-timeout) and the run's trace\n"
    "(traceparent): one that knows them, such as the demo gateway, stops when nobody waits any more.\n"
    "Ctrl-C cancels what is under way and shows what there is; a second Ctrl-C ends fanout at once.\n"
    "\n"
    "Exit status: 0 every URL answered, or enough of them (--first), or own servers were shown;\n"
    "1 not so, or interrupted; 2 the command line or a list of URLs is wrong; 130 a second Ctrl-C.\n";

static int wrong(const char *what, const char *arg, const char *advice) {
  fprintf(stderr, "fanout: %s '%s'; %s\n", what, arg, advice);
  return OPTIONS_WRONG;
}

/* Digits only: strtoull alone would take "-1" for a very large number. */
static int parse_number(const char *name, const char *text, uint64_t most, uint64_t *number) {
  char *end = NULL;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (*text && strspn(text, "0123456789") == strlen(text) && !errno && n >= 1 && n <= most) {
    *number = n;
    return 0;
  }
  fprintf(stderr, "fanout: %s: '%s' is not a number from 1 to %llu\n", name, text, (unsigned long long)most);
  return -1;
}

/* Files that this process may have open. */
static size_t descriptor_limit(void) {
#ifndef _WIN32
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > MOST_DESCRIPTORS) return MOST_DESCRIPTORS;
    return (size_t)limit.rlim_cur;
  }
#endif
  return 2048;
}

static void fit_descriptors(options_t *options) {
  size_t limit = descriptor_limit();
  size_t each = DESCRIPTORS_OF_A_TRANSFER + (options->own_backends ? 1 : 0); /* the other end is ours too */
  if (options->hedge_ms) each *= 2;
  size_t fit = limit > DESCRIPTORS_OF_THE_PROGRAM ? (limit - DESCRIPTORS_OF_THE_PROGRAM) / each : 0;
  if (!fit) fit = 1;
  if (options->concurrency <= fit) return;
  if (options->targets.count > fit || options->own_backends)
    fprintf(stderr, "fanout: %zu at once, not %zu: the limit is %zu open files\n", fit, options->concurrency, limit);
  options->concurrency = fit;
}

/* The value of an option: "--name=value" or the next argument. */
static const char *value_of(const char *arg, size_t name_len, int argc, char **argv, int *i) {
  if (arg[name_len] == '=') return arg + name_len + 1;
  if (*i + 1 >= argc) return NULL;
  return argv[++*i];
}

/* One option with a value. */
static int parse_valued(options_t *options, int argc, char **argv, int *i) {
  uint64_t concurrency = 0, first = 0;
  const struct {
    const char *name;
    uint64_t *number; /* NULL: text */
    uint64_t most;
  } known[] = {
      {"--timeout", &options->timeout_ms, DAY_MS},
      {"--per-request", &options->per_request_ms, DAY_MS},
      {"--hedge", &options->hedge_ms, DAY_MS},
      {"--concurrency", &concurrency, MOST_CONCURRENCY},
      {"--first", &first, UINT32_MAX},
      {"--file", NULL, 0},
  };
  const char *arg = argv[*i];
  for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
    size_t len = strlen(known[k].name);
    if (strncmp(arg, known[k].name, len) != 0 || (arg[len] && arg[len] != '=')) continue;
    const char *value = value_of(arg, len, argc, argv, i);
    if (!value) return wrong("no value after", arg, "see fanout --help");
    if (!known[k].number) return targets_add_file(&options->targets, value) ? OPTIONS_WRONG : OPTIONS_RUN;
    if (parse_number(known[k].name, value, known[k].most, known[k].number)) return OPTIONS_WRONG;
    if (concurrency) options->concurrency = (size_t)concurrency;
    if (first) options->first = (size_t)first;
    return OPTIONS_RUN;
  }
  return wrong("unknown option", arg, "see fanout --help");
}

static int parse_one(options_t *options, int argc, char **argv, int *i) {
  const char *arg = argv[*i];
  if (strcmp(arg, "-") == 0) return targets_add_file(&options->targets, "-") ? OPTIONS_WRONG : OPTIONS_RUN;
  if (arg[0] != '-') return targets_add(&options->targets, arg, "argument") ? OPTIONS_WRONG : OPTIONS_RUN;
  if (strcmp(arg, "--json") == 0) {
    options->json = 1;
    return OPTIONS_RUN;
  }
  if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
    fputs(HELP, stdout);
    return OPTIONS_HELP;
  }
  return parse_valued(options, argc, argv, i);
}

int options_parse(options_t *options, int argc, char **argv) {
  memset(options, 0, sizeof(*options));
  for (int i = 1; i < argc; i++) {
    int result = parse_one(options, argc, argv, &i);
    if (result != OPTIONS_RUN) return result;
  }
  options->own_backends = options->targets.count == 0;
  if (options->own_backends) { /* chosen so that every outcome is seen */
    if (!options->timeout_ms) options->timeout_ms = 1000;
    if (!options->per_request_ms) options->per_request_ms = 300;
    if (!options->hedge_ms) options->hedge_ms = 150;
    if (!options->concurrency) options->concurrency = 5;
    if (!options->first) options->first = 7;
  }
  if (!options->own_backends && options->first > options->targets.count) {
    fprintf(stderr, "fanout: --first: %zu answers cannot come from %zu URL(s); ask for at most as many\n",
            options->first, options->targets.count);
    return OPTIONS_WRONG;
  }
  if (!options->timeout_ms) options->timeout_ms = DEFAULT_TIMEOUT_MS;
  if (!options->concurrency) options->concurrency = DEFAULT_CONCURRENCY;
  fit_descriptors(options);
  return OPTIONS_RUN;
}

void options_free(options_t *options) { targets_free(&options->targets); }
