/* SPDX-License-Identifier: MIT
 *
 * numberer: loads a gateway with requests that are numbered, and accounts for each (load.h). One line of "name value"
 * pairs; exit status 1 if one was cut or had a wrong answer, or if there was none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "table.h"

static const char HELP[] =
    "Usage: numberer --port N [OPTION]...\n"
    "Sends numbered requests to a gateway, one at a time on each connection, and accounts for each of them.\n"
    "\n"
    "  --port N           of the gateway, on 127.0.0.1\n"
    "  --connections N    default 200\n"
    "  --requests N       in all; default 0: until the time is over\n"
    "  --duration-ms MS   default 10000\n"
    "  --mix LIST         what is asked in turn, of healthz, slow, long, work, fan, echo, late, dead;\n"
    "                     default healthz,slow,work,echo,late\n"
    "  --may-refuse 1     503 is as good as what was asked for\n"
    "\n"
    "Prints one line of names and values. 'crossed' are requests whose connection ended before a byte of\n"
    "their answer: compare answered + cut with what the server has begun to see if they were lost.\n"
    "\n"
    "Exit status: 0; 1 answers were cut, or not as they should be; 2 the command line is wrong.\n";

int main(int argc, char **argv) {
  uv_loop_t loop;
  load_t load;
  size_t port = 0, may_refuse = 0, duration_ms = 10000;
  memset(&load, 0, sizeof(load));
  load.connections = 200;
  load.mix = "healthz,slow,work,echo,late";
  const option_t options[] = {{"--port", NULL, &port},
                              {"--connections", NULL, &load.connections},
                              {"--requests", NULL, &load.most},
                              {"--duration-ms", NULL, &duration_ms},
                              {"--mix", &load.mix, NULL},
                              {"--may-refuse", NULL, &may_refuse},
                              {NULL, NULL, NULL}};
  (void)argc;
  int status = take_options(argv, HELP, options);
  if (status >= 0) return status;
  load.port = (int)port;
  load.may_refuse = may_refuse != 0;
  if (uv_loop_init(&loop)) abort();
  if (!load.port || !load.connections || !load_start(&load, &loop)) {
    fprintf(stderr, "numberer: wants --port, at least one connection, and a --mix of what --help shows\n");
    return 2;
  }
  await_zero(&loop, &load.open, duration_ms);
  load_stop(&load);
  check(await_zero(&loop, &load.open, patient_ms(30000)), "requests are not answered within 30 s");
  check(!load.cut, "%zu answers were cut", load.cut);
  check(!load.wrong_status && !load.wrong_number, "wrong answers: %zu status, %zu number; the first: %s",
        load.wrong_status, load.wrong_number, load.wrong);
  check(load.answered > 0, "nothing was answered");
  printf("sent %zu answered %zu cut %zu crossed %zu refused %zu slowest_ms %llu", load.sent, load.answered, load.cut,
         load.crossed, load.refused, (unsigned long long)(load.slowest_ns / 1000000));
  for (int status = 0; status < STATUSES_MOST; status++)
    if (load.by_status[status]) printf(" status_%d %zu", status, load.by_status[status]);
  printf("\n");
  if (load.open) return 1; /* they hold the loop */
  load_free(&load);
  check(uv_loop_close(&loop) == 0, "something is left on the loop");
  return checks_failed() > 0;
}
