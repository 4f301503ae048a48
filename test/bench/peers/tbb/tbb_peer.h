/* SPDX-License-Identifier: MIT
 *
 * The peer "TBB": its pipelines, its bounded queue, its task groups, arenas and contexts, as its own programs use them.
 */
#ifndef UVFLOW_BENCH_TBB_PEER_H
#define UVFLOW_BENCH_TBB_PEER_H

#include "peer_work.h"

/* What a row does: made when it is set up, run again and again. */
class row_t {
public:
  virtual ~row_t() = default;
  virtual void run(uint64_t ops, peer_sample_t &sample) = 0;
};

/* From its first call to its end: elapsed and CPU time are added to the sample. */
class stopwatch_t {
public:
  explicit stopwatch_t(peer_sample_t &sample) : sample_(sample), cpu_(peer_cpu_ns()), start_(peer_now_ns()) {}
  stopwatch_t(const stopwatch_t &) = delete;
  stopwatch_t &operator=(const stopwatch_t &) = delete;
  ~stopwatch_t() {
    sample_.amount += peer_now_ns() - start_;
    sample_.cpu_ns += peer_cpu_ns() - cpu_;
  }

private:
  peer_sample_t &sample_;
  uint64_t cpu_;
  uint64_t start_;
};

/* --- what makes them ---------------------------------------------------------------------------------------------- */

/* pipe.cc: parallel_pipeline on as many threads as the row has workers; in arrays of so many. */
row_t *pipeline_squares(const peer_size_t &size);
row_t *pipeline_squares_64(const peer_size_t &size);
row_t *pipeline_work(const peer_size_t &size);
row_t *pipeline_work_16(const peer_size_t &size);
/* chan.cc: concurrent_bounded_queue. */
row_t *queue_one(const peer_size_t &size);
row_t *queue_batch(const peer_size_t &size);
row_t *queue_senders(const peer_size_t &size);
/* task.cc: task_arena, task_group. */
row_t *job_empty(const peer_size_t &size);
row_t *job_1us(const peer_size_t &size);
row_t *group_one(const peer_size_t &size);
row_t *group_workers(const peer_size_t &size);
row_t *group_away(const peer_size_t &size);
/* context.cc: task_group_context. */
row_t *context_cancel(const peer_size_t &size);
row_t *context_err(const peer_size_t &size);
row_t *context_children(const peer_size_t &size);
row_t *context_children_free(const peer_size_t &size);
row_t *context_chain(const peer_size_t &size);

#endif
