/* SPDX-License-Identifier: MIT
 *
 * The command line.
 */
#ifndef MD5ALL_OPTIONS_H
#define MD5ALL_OPTIONS_H

typedef enum run_mode_e { MODE_SERIAL, MODE_PARALLEL, MODE_BOUNDED } run_mode_t;

typedef struct options_s {
  run_mode_t mode;
  unsigned int workers;
  const char *algorithm;
  int follow;
  int stats;
  int draw;
  int no_progress;
  char **paths; /* part of argv */
  int npaths;
} options_t;

enum { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_WRONG };

/* Reads argv, and says on stderr what is wrong with it. */
int options_parse(options_t *options, int argc, char **argv);

#endif
