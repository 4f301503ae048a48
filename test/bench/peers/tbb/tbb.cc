/* SPDX-License-Identifier: MIT
 *
 * What the peer "TBB" has for which row. It has no timers, no values and no loop.
 */
#include <oneapi/tbb/version.h>

#include <cstdio>

#include "tbb_peer.h"

namespace {

using make_t = row_t *(*)(const peer_size_t &size);

template <make_t make> void *setup(const peer_size_t *size) { return make(*size); }

void run(void *state, uint64_t ops, peer_sample_t *sample) { static_cast<row_t *>(state)->run(ops, *sample); }

void teardown(void *state) { delete static_cast<row_t *>(state); }

template <make_t make> constexpr peer_impl_t row(const char *name, const char *impl, unsigned int flags = 0) {
  return {name, impl, setup<make>, run, teardown, flags};
}

constexpr const char *context = "TBB: task_group_context";
constexpr const char *queue = "TBB: concurrent_bounded_queue";
constexpr const char *queue_of_arrays = "TBB: bounded queue of arrays";
constexpr const char *pipeline = "TBB: parallel_pipeline";
constexpr const char *pipeline_64 = "TBB: parallel_pipeline, 64 at once";
constexpr const char *pipeline_16 = "floor: TBB, 16 at once by hand";
constexpr const char *group = "TBB: task_group";
constexpr const char *group_in_arena = "TBB: task_group in a task_arena";
constexpr const char *arena = "TBB: task_arena, bounded queue";

} // namespace

const peer_impl_t peer_impls[] = {
    row<context_cancel>("cancel", context),
    row<context_err>("err", context),
    row<context_children>("children", context, PEER_ELAPSED),
    row<context_children>("children-1k", context, PEER_ELAPSED),
    row<context_children>("children-10k", context, PEER_ELAPSED),
    row<context_children>("children-100k", context, PEER_ELAPSED),
    row<context_children_free>("children-free", context, PEER_ELAPSED),
    row<context_chain>("chain-10", context, PEER_ELAPSED),
    row<context_chain>("chain-100", context, PEER_ELAPSED),
    row<context_chain>("chain-1k", context, PEER_ELAPSED),
    row<context_chain>("chain-10k", context, PEER_ELAPSED),
    row<queue_one>("chan-thread-loop", queue),
    row<queue_batch>("chan-thread-blocks", queue_of_arrays),
    row<queue_senders>("chan-3-loop", queue),
    row<queue_senders>("chan-producers-*", queue),
    row<queue_one>("chan-threads", queue),
    row<pipeline_squares>("pipe-squares", pipeline),
    row<pipeline_squares_64>("pipe-squares-blocks", pipeline_64),
    row<pipeline_squares>("pipe-squares-apart", pipeline),
    row<pipeline_squares>("pipe-stages-*", pipeline),
    row<pipeline_work>("pipe-work-1us", pipeline),
    row<pipeline_work_16>("pipe-work-1us", pipeline_16),
    row<pipeline_work>("pipe-work-10us", pipeline),
    row<pipeline_work_16>("pipe-work-10us", pipeline_16),
    row<pipeline_work>("pipe-workers-*", pipeline),
    row<pipeline_work_16>("pipe-workers-*", pipeline_16),
    row<job_empty>("job-64-w1", arena),
    row<job_empty>("job-64-w4", arena),
    row<job_1us>("job-1us-w4", arena),
    row<group_one>("group-loop-100", group),
    row<group_workers>("group-pool-100-w4", group),
    row<group_away>("group-pool-100-w4", group_in_arena),
    {nullptr, nullptr, nullptr, nullptr, nullptr, 0},
};

const char *peer_about(void) {
  static char about[64];
  std::snprintf(about, sizeof(about), "oneTBB %s", TBB_runtime_version());
  return about;
}
