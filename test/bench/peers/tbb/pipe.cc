/* SPDX-License-Identifier: MIT
 *
 * Pipelines by parallel_pipeline. A run is one call of it; the calling thread is one of its workers. Items are numbers.
 * Item by item, TBB carries them from filter to filter without allocating for them. In arrays, which the filters fill
 * and go through by hand, carrying one costs a part of that: it is what TBB's manual says of items as cheap as these,
 * and what ours does inside, but the source must have that many at hand. As a flow graph the same costs more than item
 * by item in every row.
 */
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tbb_peer.h"

namespace {

class pipeline_t : public row_t {
public:
  pipeline_t(const peer_size_t &size, size_t squares, uint64_t turns)
      : squares_(squares), turns_(turns), tokens_(16 * size_t{size.workers}),
        control_(tbb::global_control::max_allowed_parallelism, size.workers), arena_(static_cast<int>(size.workers)) {}

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

protected:
  virtual tbb::filter<void, void> chain() = 0;

  size_t squares_;
  uint64_t turns_;
  size_t tokens_; /* under way at most: from 2 to 32 for each thread make no difference */
  tbb::global_control control_;
  tbb::task_arena arena_;
  alignas(128) uint64_t next_ = 0;
  uint64_t end_ = 0;
  alignas(128) uint64_t sum_ = 0;
};

class items_t : public pipeline_t {
  using pipeline_t::pipeline_t;

  tbb::filter<void, void> chain() override {
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
    /* As ours: squares arrive in order, what several workers have done does not. */
    auto mode = turns_ ? tbb::filter_mode::serial_out_of_order : tbb::filter_mode::serial_in_order;
    return gen & tbb::make_filter<uint64_t, void>(mode, [this](uint64_t n) { sum_ += n; });
  }
};

/* An array is used again when as many others have begun as may be under way: all that began before it have left, since
 * they leave in order. */
template <size_t most> class arrays_t : public pipeline_t {
  struct alignas(128) array_t {
    size_t n = 0;
    std::array<uint64_t, most> items{};
  };

public:
  arrays_t(const peer_size_t &size, size_t squares, uint64_t turns)
      : pipeline_t(size, squares, turns), arrays_(tokens_) {}

private:
  tbb::filter<void, void> chain() override {
    auto gen = tbb::make_filter<void, array_t *>(tbb::filter_mode::serial_in_order, [this](tbb::flow_control &control) {
      array_t *array = &arrays_[at_++ % tokens_];
      array->n = static_cast<size_t>(std::min<uint64_t>(most, end_ - next_));
      if (!array->n) control.stop();
      for (size_t i = 0; i < array->n; i++) array->items[i] = 2 * next_++ + 1;
      return array;
    });
    for (size_t k = 0; k < squares_; k++) {
      gen = gen & tbb::make_filter<array_t *, array_t *>(tbb::filter_mode::parallel, [](array_t *array) {
              for (size_t i = 0; i < array->n; i++) array->items[i] *= array->items[i];
              return array;
            });
    }
    if (turns_) {
      gen = gen & tbb::make_filter<array_t *, array_t *>(tbb::filter_mode::parallel, [this](array_t *array) {
              for (size_t i = 0; i < array->n; i++) array->items[i] = peer_spin(array->items[i], turns_);
              return array;
            });
    }
    return gen & tbb::make_filter<array_t *, void>(tbb::filter_mode::serial_in_order, [this](array_t *array) {
             for (size_t i = 0; i < array->n; i++) sum_ += array->items[i];
           });
  }

  std::vector<array_t> arrays_;
  size_t at_ = 0;
};

} // namespace

row_t *pipeline_squares(const peer_size_t &size) { return new items_t(size, size.size, 0); }
row_t *pipeline_squares_64(const peer_size_t &size) { return new arrays_t<64>(size, size.size, 0); }

row_t *pipeline_work(const peer_size_t &size) { return new items_t(size, 0, peer_turns_for(size.size)); }
row_t *pipeline_work_16(const peer_size_t &size) { return new arrays_t<16>(size, 0, peer_turns_for(size.size)); }
