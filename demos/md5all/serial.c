/* SPDX-License-Identifier: MIT
 *
 * One file after the other, on the thread of the loop: what the other two are compared with. The pool is not used.
 */
#include "modes.h"

typedef struct serial_s {
  run_t *run;
  digester_t digester;
} serial_t;

/* The loop has no thread to itself here: it gets a turn before each block, in which it hears of Ctrl-C and draws the
 * progress. */
static int stopped(void *arg) {
  serial_t *serial = arg;
  uv_run(uvf_ctx_loop(serial->run->ctx), UV_RUN_NOWAIT);
  return uvf_ctx_err(serial->run->ctx);
}

static int on_found(void *arg, file_t *file) {
  serial_t *serial = arg;
  tally_t *tally = &serial->run->tally;
  int err = uvf_ctx_err(serial->run->ctx);
  if (err) return err;
  err = digest_file(&serial->digester, tally, file, stopped, serial);
  if (!err) {
    tally_digested(tally, file);
  } else if (err == UV_ECANCELED) {
    tally_not_done(tally, file);
  } else {
    tally_failed(tally, file, err);
  }
  return 0;
}

int serial(run_t *run) {
  serial_t serial = {run, {0}};
  int err = digester_open(&serial.digester, &run->algorithm);
  while (!err) {
    err = stopped(&serial);
    if (!err) err = walk_step(&run->walk, on_found, &serial);
  }
  digester_close(&serial.digester);
  return err == UV_EOF ? 0 : err;
}
