/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { MOST_WORKERS = 512 };

static const char HELP[] =
    "Usage: md5all [OPTION]... DIR...\n"
    "Prints the digest of every file below the directories, sorted by path, as md5sum would.\n"
    "\n"
    "  --mode MODE    how it goes about it; default bounded\n"
    "                   serial    one file after the other, on one thread\n"
    "                   parallel  a job for every file at once, however many there are\n"
    "                   bounded   a pipeline: the walk waits while enough files are found\n"
    "  --workers N    files at once; default: as many as there are cores\n"
    "  --algo NAME    the digest, by OpenSSL's name: md5 (default), sha1, sha256, blake2b512 ...\n"
    "  --follow       follow symbolic links, as find -L\n"
    "  --stats        print what each stage did, and whether the counts add up, on stderr\n"
    "  --draw         print a drawing of the pipeline in place of running it\n"
    "  --no-progress  no line of progress (there is one when stderr is a terminal)\n"
    "  --help         print this\n"
    "\n"
    "Files and paths are those of `find DIR... -type f`: links are not followed but where one is given as a\n"
    "DIR; what is neither a file nor a directory is passed over. A link that leads to itself is an error.\n"
    "What cannot be read is reported on stderr, and the rest is done.\n"
    "Ctrl-C stops within one block of a file, prints what there is and says how far it came; a second\n"
    "Ctrl-C ends md5all at once.\n"
    "\n"
    "Exit status: 0 all was digested; 1 something could not be read; 2 the command line is wrong;\n"
    "130 interrupted.\n";

static int wrong(const char *what, const char *arg, const char *advice) {
  fprintf(stderr, "md5all: %s '%s'; %s\n", what, arg, advice);
  return OPTIONS_WRONG;
}

static int parse_mode(options_t *options, const char *value) {
  static const char *const NAMES[] = {"serial", "parallel", "bounded"};
  for (int i = 0; i < 3; i++) {
    if (strcmp(value, NAMES[i]) != 0) continue;
    options->mode = (run_mode_t)i;
    return OPTIONS_RUN;
  }
  return wrong("unknown mode", value, "there are serial, parallel and bounded");
}

/* Digits only: strtoul alone would take "-1" for a very large number. */
static int parse_workers(options_t *options, const char *value) {
  errno = 0;
  unsigned long n = strtoul(value, NULL, 10);
  if (!*value || strspn(value, "0123456789") != strlen(value) || errno || n < 1 || n > MOST_WORKERS) {
    fprintf(stderr, "md5all: --workers: '%s' is not a number from 1 to %d\n", value, MOST_WORKERS);
    return OPTIONS_WRONG;
  }
  options->workers = (unsigned int)n;
  return OPTIONS_RUN;
}

static int parse_flag(options_t *options, const char *arg) {
  const struct {
    const char *name;
    int *flag;
  } known[] = {{"--follow", &options->follow},
               {"--stats", &options->stats},
               {"--draw", &options->draw},
               {"--no-progress", &options->no_progress}};
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (strcmp(arg, known[i].name) != 0) continue;
    *known[i].flag = 1;
    return OPTIONS_RUN;
  }
  return wrong("unknown option", arg, "see md5all --help");
}

/* "--name=value", or "--name" and the next argument. NULL: it is not `name`; "" if there is no value. */
static const char *value_of(const char *name, int argc, char **argv, int *i) {
  size_t len = strlen(name);
  if (strncmp(argv[*i], name, len) != 0) return NULL;
  if (argv[*i][len] == '=') return argv[*i] + len + 1;
  if (argv[*i][len]) return NULL;
  return *i + 1 < argc ? argv[++*i] : "";
}

static int parse_one(options_t *options, int argc, char **argv, int *i) {
  const char *value;
  if (strcmp(argv[*i], "--help") == 0 || strcmp(argv[*i], "-h") == 0) {
    fputs(HELP, stdout);
    return OPTIONS_HELP;
  }
  if ((value = value_of("--mode", argc, argv, i))) return parse_mode(options, value);
  if ((value = value_of("--workers", argc, argv, i))) return parse_workers(options, value);
  if ((value = value_of("--algo", argc, argv, i))) {
    options->algorithm = value;
    return *value ? OPTIONS_RUN : wrong("no value after", "--algo", "see md5all --help");
  }
  return parse_flag(options, argv[*i]);
}

int options_parse(options_t *options, int argc, char **argv) {
  memset(options, 0, sizeof(*options));
  options->mode = MODE_BOUNDED;
  options->algorithm = "md5";
  options->workers = uv_available_parallelism();
  options->paths = argv; /* overwritten from its start: an argument is read before its place is taken */
  int only_paths = 0;
  for (int i = 1; i < argc; i++) {
    if (only_paths || argv[i][0] != '-') {
      options->paths[options->npaths++] = argv[i];
    } else if (strcmp(argv[i], "--") == 0) {
      only_paths = 1;
    } else {
      int result = parse_one(options, argc, argv, &i);
      if (result != OPTIONS_RUN) return result;
    }
  }
  if (options->npaths || options->draw) return OPTIONS_RUN;
  fputs("md5all: no directory was given; see md5all --help\n", stderr);
  return OPTIONS_WRONG;
}
