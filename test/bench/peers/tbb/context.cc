/* SPDX-License-Identifier: MIT
 *
 * TBB's task_group_context: a tree of cancellation, without deadlines, values or callbacks. One that is bound becomes a
 * child of the context whose task first runs something in it, so everything here is done inside a task, and each
 * context gets an empty task of its own, which is the only way to put it into the tree.
 */
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <memory>
#include <vector>

#include "tbb_peer.h"

namespace {

using context_t = tbb::task_group_context;

void adopt(context_t &context) {
  tbb::task_group group(context);
  group.run_and_wait([] {});
}

/* Runs rounds inside a task of a root context, on this thread alone. */
class contexts_t : public row_t {
public:
  contexts_t() : control_(tbb::global_control::max_allowed_parallelism, 1), arena_(1) {}

  void run(uint64_t ops, peer_sample_t &sample) override {
    arena_.execute([this, ops, &sample] {
      tbb::task_group root;
      root.run_and_wait([this, ops, &sample] { rounds(ops, sample); });
    });
  }

protected:
  virtual void rounds(uint64_t ops, peer_sample_t &sample) = 0;

private:
  tbb::global_control control_;
  tbb::task_arena arena_;
};

/* A context is made, becomes a child of the root's by an empty task, is cancelled and goes. */
class cancel_t : public contexts_t {
  void rounds(uint64_t ops, peer_sample_t &sample) override {
    uint64_t start = peer_now_ns();
    for (uint64_t i = 0; i < ops; i++) {
      context_t context;
      adopt(context);
      context.cancel_group_execution();
    }
    sample.amount += peer_now_ns() - start;
    sample.ops += ops;
  }
};

/* is_group_execution_cancelled of a child that stays in the cache. */
class err_t : public contexts_t {
  void rounds(uint64_t ops, peer_sample_t &sample) override {
    context_t context;
    bool seen = false;
    adopt(context);
    uint64_t start = peer_now_ns();
    for (uint64_t i = 0; i < ops; i++) seen |= context.is_group_execution_cancelled();
    sample.amount += peer_now_ns() - start;
    sample.ops += ops;
    if (seen) peer_fail("the context is cancelled");
  }
};

/* N children, each a block of its own. Timed: the cancel of their parent; with_free: and the end of each, in the order
 * they were made, and of the parent. */
class children_t : public contexts_t {
public:
  children_t(size_t n, bool with_free) : children_(n), with_free_(with_free) {}

private:
  void rounds(uint64_t ops, peer_sample_t &sample) override {
    for (uint64_t done = 0; done < ops; done += children_.size()) round(sample);
  }

  void round(peer_sample_t &sample) {
    auto top = std::make_unique<context_t>();
    tbb::task_group(*top).run_and_wait([this] {
      for (auto &child : children_) {
        child = std::make_unique<context_t>();
        adopt(*child);
      }
    });
    uint64_t start = peer_now_ns();
    top->cancel_group_execution();
    uint64_t cancelled = peer_now_ns();
    for (auto &child : children_) {
      if (!child->is_group_execution_cancelled()) peer_fail("the cancel did not reach every child");
    }
    uint64_t releasing = peer_now_ns();
    for (auto &child : children_) child.reset();
    top.reset();
    uint64_t released = peer_now_ns();
    sample.amount += cancelled - start + (with_free_ ? released - releasing : 0);
    sample.ops += children_.size();
  }

  std::vector<std::unique_ptr<context_t>> children_;
  bool with_free_;
};

/* Chains of N, as many as make 10,000. Timed: the cancel of the first of each. */
class chain_t : public contexts_t {
public:
  explicit chain_t(size_t depth)
      : depth_(depth), contexts_(depth * (chained / depth ? chained / depth : 1)), groups_(contexts_.size()) {}

private:
  static constexpr size_t chained = 10000;

  /* A task of one context puts the next into the tree: it runs when that one's group is waited for, so that tasks are
   * not nested as deep as the chain. */
  void put(size_t i) {
    groups_[i]->run([this, i] {
      if ((i + 1) % depth_) put(i + 1);
    });
  }

  void rounds(uint64_t ops, peer_sample_t &sample) override {
    for (uint64_t done = 0; done < ops; done += contexts_.size()) round(sample);
  }

  void round(peer_sample_t &sample) {
    for (size_t i = 0; i < contexts_.size(); i++) {
      contexts_[i] = std::make_unique<context_t>();
      groups_[i] = std::make_unique<tbb::task_group>(*contexts_[i]);
    }
    for (size_t i = 0; i < contexts_.size(); i++) {
      if (i % depth_ == 0) put(i);
      groups_[i]->wait();
    }
    uint64_t start = peer_now_ns();
    for (size_t i = 0; i < contexts_.size(); i += depth_) contexts_[i]->cancel_group_execution();
    sample.amount += peer_now_ns() - start;
    sample.ops += contexts_.size();
    for (auto &context : contexts_) {
      if (!context->is_group_execution_cancelled()) peer_fail("the cancel did not reach the end of a chain");
    }
    groups_.clear();
    groups_.resize(contexts_.size());
  }

  size_t depth_;
  std::vector<std::unique_ptr<context_t>> contexts_;
  std::vector<std::unique_ptr<tbb::task_group>> groups_;
};

} // namespace

row_t *context_cancel(const peer_size_t &) { return new cancel_t; }
row_t *context_err(const peer_size_t &) { return new err_t; }
row_t *context_children(const peer_size_t &size) { return new children_t(size.size, false); }
row_t *context_children_free(const peer_size_t &size) { return new children_t(size.size, true); }
row_t *context_chain(const peer_size_t &size) { return new chain_t(size.size ? size.size : 1); }
