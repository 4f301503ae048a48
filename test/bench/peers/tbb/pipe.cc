/* SPDX-License-Identifier: MIT
 *
 * Pipelines by parallel_pipeline, item by item: an item is a number, which TBB carries from filter to filter without
 * allocating for it. Source and sink are serial and in order, as in every pipeline of TBB that reads and writes.
 * A run is one call of parallel_pipeline; the calling thread is one of its workers. As a flow graph the same costs more
 * in every row. Chunks of items, filled and emptied by hand in the filters, divide what carrying one costs by their
 * size, here as with everything that carries items; what is compared is how each carries those it is given.
 */
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include "tbb_peer.h"

namespace {

using filter_t = tbb::filter<uint64_t, uint64_t>;

class pipeline_t : public row_t {
public:
  pipeline_t(size_t squares, uint64_t turns, unsigned int threads, size_t tokens)
      : squares_(squares), turns_(turns), tokens_(tokens),
        control_(tbb::global_control::max_allowed_parallelism, threads), arena_(static_cast<int>(threads)) {}

  void run(uint64_t ops, peer_sample_t &sample) override {
    next_ = 0;
    end_ = ops;
    sum_ = 0;
    {
      stopwatch_t watch(sample);
      arena_.execute([this] { tbb::parallel_pipeline(tokens_, chain()); });
    }
    sample.ops += ops;
    if (sum_ != peer_sum_of(ops, squares_)) peer_fail("the pipeline's sum is wrong");
  }

private:
  tbb::filter<void, void> chain() {
    auto gen = tbb::make_filter<void, uint64_t>(tbb::filter_mode::serial_in_order, [this](tbb::flow_control &control) {
      if (next_ == end_) {
        control.stop();
        return uint64_t{0};
      }
      return 2 * next_++ + 1;
    });
    for (size_t i = 0; i < squares_; i++) {
      gen = gen & tbb::make_filter<uint64_t, uint64_t>(tbb::filter_mode::parallel, [](uint64_t n) { return n * n; });
    }
    if (turns_) {
      gen = gen & tbb::make_filter<uint64_t, uint64_t>(tbb::filter_mode::parallel,
                                                       [this](uint64_t n) { return peer_spin(n, turns_); });
    }
    return gen &
           tbb::make_filter<uint64_t, void>(tbb::filter_mode::serial_out_of_order, [this](uint64_t n) { sum_ += n; });
  }

  size_t squares_;
  uint64_t turns_;
  size_t tokens_;
  tbb::global_control control_;
  tbb::task_arena arena_;
  alignas(128) uint64_t next_ = 0;
  uint64_t end_ = 0;
  alignas(128) uint64_t sum_ = 0;
};

} // namespace

/* At most so many items are under way: from 2 to 32 for each thread make no difference. */
static size_t tokens_for(unsigned int threads) { return 16 * size_t{threads}; }

row_t *pipeline_squares(const peer_size_t &size) {
  return new pipeline_t(size.size, 0, size.workers, tokens_for(size.workers));
}

row_t *pipeline_work(const peer_size_t &size) {
  return new pipeline_t(0, peer_turns_for(size.size), size.workers, tokens_for(size.workers));
}
