/* SPDX-License-Identifier: MIT
 *
 * Jobs and groups. A job is enqueued into an arena of worker threads; what is done comes back to the calling thread,
 * which stands for the loop, through a concurrent_bounded_queue. A group is a task_group, whose wait takes part in the
 * work: whoever waits is one of the workers.
 */
#include <oneapi/tbb/concurrent_queue.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <vector>

#include "tbb_peer.h"

namespace {

/* The job's request: on lines of its own. */
struct alignas(128) slot_t {
  uint64_t done = 0;
};

class jobs_t : public row_t {
public:
  jobs_t(size_t in_flight, unsigned int workers, uint64_t spin_ns)
      : spin_ns_(spin_ns), slots_(in_flight),
        control_(tbb::global_control::max_allowed_parallelism, workers + 1), /* the calling thread counts */
        arena_(static_cast<int>(workers), 0) {}

  /* So many are in flight; for each that comes back the next is started. */
  void run(uint64_t ops, peer_sample_t &sample) override {
    stopwatch_t watch(sample);
    uint64_t started = 0;
    for (auto &slot : slots_) {
      if (started == ops) break;
      start(&slot);
      started++;
    }
    for (uint64_t ended = 0; ended < ops; ended++) {
      slot_t *slot = nullptr;
      ended_.pop(slot);
      if (started == ops) continue;
      start(slot);
      started++;
    }
    sample.ops += ops;
  }

private:
  void start(slot_t *slot) {
    arena_.enqueue([this, slot] {
      if (spin_ns_) peer_spin_clock(spin_ns_);
      slot->done++;
      ended_.push(slot);
    });
  }

  uint64_t spin_ns_;
  std::vector<slot_t> slots_;
  tbb::concurrent_bounded_queue<slot_t *> ended_;
  tbb::global_control control_;
  tbb::task_arena arena_;
};

/* A task_group is made, 100 empty tasks are run, it waits for them and goes. */
void group_of(size_t tasks) {
  tbb::task_group group;
  for (size_t i = 0; i < tasks; i++) group.run([] {});
  if (group.wait() != tbb::task_group_status::complete) peer_fail("a group was cancelled");
}

/* The calling thread makes it, waits, and does most of its tasks itself. */
class groups_t : public row_t {
public:
  groups_t(size_t tasks, unsigned int threads)
      : tasks_(tasks), control_(tbb::global_control::max_allowed_parallelism, threads),
        arena_(static_cast<int>(threads)) {}

  void run(uint64_t ops, peer_sample_t &sample) override {
    stopwatch_t watch(sample);
    arena_.execute([this, ops] {
      for (uint64_t i = 0; i < ops; i++) group_of(tasks_);
    });
    sample.ops += ops;
  }

private:
  size_t tasks_;
  tbb::global_control control_;
  tbb::task_arena arena_;
};

/* As it is for a thread that has a loop to go on with: workers make it, do its tasks, and say when it is over. */
class groups_away_t : public row_t {
public:
  groups_away_t(size_t tasks, unsigned int workers)
      : tasks_(tasks), control_(tbb::global_control::max_allowed_parallelism, workers + 1),
        arena_(static_cast<int>(workers), 0) {}

  void run(uint64_t ops, peer_sample_t &sample) override {
    stopwatch_t watch(sample);
    for (uint64_t i = 0; i < ops; i++) {
      arena_.enqueue([this] {
        group_of(tasks_);
        ended_.push(true);
      });
      bool ended = false;
      ended_.pop(ended);
    }
    sample.ops += ops;
  }

private:
  size_t tasks_;
  tbb::concurrent_bounded_queue<bool> ended_;
  tbb::global_control control_;
  tbb::task_arena arena_;
};

} // namespace

row_t *job_empty(const peer_size_t &size) { return new jobs_t(size.size, size.workers, 0); }
row_t *job_1us(const peer_size_t &size) { return new jobs_t(size.size, size.workers, 1000); }

row_t *group_one(const peer_size_t &size) { return new groups_t(size.size, 1); }
row_t *group_workers(const peer_size_t &size) { return new groups_t(size.size, size.workers); }
row_t *group_away(const peer_size_t &size) { return new groups_away_t(size.size, size.workers); }
