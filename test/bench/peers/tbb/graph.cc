/* SPDX-License-Identifier: MIT
 *
 * gen -> work -> sum as a flow graph: an input node, a limiter for what is under way, a node that may work on as many
 * items as there are threads, and one that adds up, within the task that brings the item. Nodes for stages that only
 * square cost three times what parallel_pipeline does, so they are not here.
 */
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include "tbb_peer.h"

namespace flow = tbb::flow;

namespace {

constexpr size_t tokens = 64;

class graph_t : public row_t {
public:
  graph_t(uint64_t turns, unsigned int threads)
      : turns_(turns), control_(tbb::global_control::max_allowed_parallelism, threads),
        arena_(static_cast<int>(threads)) {}

  /* The graph is made in it, as a pipeline's run is begun in ours. */
  void run(uint64_t ops, peer_sample_t &sample) override {
    next_ = 0;
    end_ = ops;
    sum_ = 0;
    {
      stopwatch_t watch(sample);
      arena_.execute([this] { run_graph(); });
    }
    sample.ops += ops;
    if (sum_ != ops * ops) peer_fail("the graph's sum is wrong"); /* 1 + 3 + 5 ... */
  }

private:
  void run_graph() {
    flow::graph graph;
    flow::input_node<uint64_t> gen(graph, [this](tbb::flow_control &control) {
      if (next_ == end_) {
        control.stop();
        return uint64_t{0};
      }
      return 2 * next_++ + 1;
    });
    flow::limiter_node<uint64_t> limit(graph, tokens);
    flow::function_node<uint64_t, uint64_t> work(graph, flow::unlimited,
                                                 [this](uint64_t n) { return peer_spin(n, turns_); });
    flow::function_node<uint64_t, flow::continue_msg, flow::lightweight> add(graph, flow::serial, [this](uint64_t n) {
      sum_ += n;
      return flow::continue_msg();
    });
    flow::make_edge(gen, limit);
    flow::make_edge(limit, work);
    flow::make_edge(work, add);
    flow::make_edge(add, limit.decrementer());
    gen.activate();
    graph.wait_for_all();
  }

  uint64_t turns_;
  tbb::global_control control_;
  tbb::task_arena arena_;
  alignas(128) uint64_t next_ = 0;
  uint64_t end_ = 0;
  alignas(128) uint64_t sum_ = 0;
};

} // namespace

row_t *graph_work(const peer_size_t &size) { return new graph_t(peer_turns_for(size.size), size.workers); }
