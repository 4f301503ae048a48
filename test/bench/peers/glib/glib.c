/* SPDX-License-Identifier: MIT
 *
 * What the peer "GLib" has for which row. value-*: GLib has nothing that looks up a value through a chain of contexts.
 * chain-10k: a cancellable cancels the next from within its own cancel, so 10,000 of them take more than half of the
 * 8 MB of stack that a program usually has; 20,000 are too many.
 */
#include "glib_peer.h"

#define ROW(row, name, id)                                                                                             \
  { row, "GLib: " name, id##_setup, id##_run, id##_teardown, 0 }
#define ROW_ELAPSED(row, name, id)                                                                                     \
  { row, "GLib: " name, id##_setup, id##_run, id##_teardown, PEER_ELAPSED }

#define SOURCE "GCancellable, a GSource each"
#define SEQUENCE "GCancellable, a GSequence"
#define QUEUE "GAsyncQueue, GSource"
#define THREADS "threads, GAsyncQueue"
#define THREADS_64 "threads, GAsyncQueue, 64 at once"
#define THREADS_16 "threads, GAsyncQueue, 16 at once"

const peer_impl_t peer_impls[] = {
    ROW("timeout", SOURCE, source_timeout),
    ROW("timeout", SEQUENCE, sequence_timeout),
    ROW("rotate-*", SOURCE, source_rotate),
    ROW("rotate-*", SEQUENCE, sequence_rotate),
    ROW("random-1m", SOURCE, source_random),
    ROW("random-1m", SEQUENCE, sequence_random),
    ROW("cancel", "GCancellable", cancel),
    ROW("cancel", "GCancellable, g_signal_connect", cancel_plain),
    ROW("bytes", SOURCE, source_bytes),
    ROW("bytes", SEQUENCE, sequence_bytes),
    ROW("err", "g_cancellable_is_cancelled", err),
    ROW_ELAPSED("children", "GCancellable", children),
    ROW_ELAPSED("children-1k", "GCancellable", children),
    ROW_ELAPSED("children-10k", "GCancellable", children),
    ROW_ELAPSED("children-100k", "GCancellable", children),
    ROW_ELAPSED("children-free", "GCancellable", children_free),
    ROW_ELAPSED("chain-10", "GCancellable", chain),
    ROW_ELAPSED("chain-100", "GCancellable", chain),
    ROW_ELAPSED("chain-1k", "GCancellable", chain),
    ROW_ELAPSED("chain-10k", "GCancellable", chain),
    ROW("chan-loop", QUEUE, chan_loop),
    ROW("chan-thread-loop", QUEUE, chan_thread_loop),
    ROW("chan-thread-loop-batch", QUEUE, chan_thread_loop_batch),
    ROW("chan-3-loop", QUEUE, chan_3_loop),
    ROW("chan-producers-*", QUEUE, chan_producers),
    ROW("chan-threads", "GAsyncQueue", chan_threads),
    ROW("pipe-squares", THREADS, pipe_one),
    ROW("pipe-squares", THREADS_64, pipe_many),
    ROW("pipe-squares-apart", THREADS, pipe_one),
    ROW("pipe-squares-apart", THREADS_64, pipe_many),
    ROW("pipe-stages-*", THREADS, pipe_one),
    ROW("pipe-stages-*", THREADS_64, pipe_many),
    ROW("pipe-work-1us", "GThreadPool", pool_work),
    ROW("pipe-work-1us", THREADS_16, pipe_work),
    ROW("pipe-work-10us", "GThreadPool", pool_work),
    ROW("pipe-work-10us", THREADS_16, pipe_work),
    ROW("pipe-workers-*", "GThreadPool", pool_work),
    ROW("pipe-workers-*", THREADS_16, pipe_work),
    ROW("job-64-w1", "GThreadPool", job_pool),
    ROW("job-64-w1", "GTask", job_task),
    ROW("job-64-w4", "GThreadPool", job_pool),
    ROW("job-64-w4", "GTask", job_task),
    ROW("job-1us-w4", "GThreadPool", job_pool_1us),
    ROW("job-1us-w4", "GTask", job_task_1us),
    ROW("group-loop-100", "idle sources", group_idle),
    ROW("group-loop-100", "GTask", group_task),
    ROW("group-pool-100-w4", "GThreadPool, counter", group_pool),
    ROW("group-pool-100-w4", "a GThreadPool a group", group_pool_each),
    ROW("group-pool-100-w4", "GTask", group_pool_task),
    {NULL, NULL, NULL, NULL, NULL, 0},
};

const char *peer_about(void) {
  static char about[64];
  g_snprintf(about, sizeof(about), "GLib %u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
  return about;
}
