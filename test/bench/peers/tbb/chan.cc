/* SPDX-License-Identifier: MIT
 *
 * Channels between threads: a concurrent_bounded_queue of 128 items, push and pop wait. TBB has no loop: where a row
 * has one, a thread that waits in pop stands for it, so it could do nothing else meanwhile. Items are numbers, which
 * the receiver checks: whose it is, and that each sender's come one by one.
 */
#include <oneapi/tbb/concurrent_queue.h>

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "tbb_peer.h"

namespace {

constexpr size_t capacity = 128;
constexpr size_t max_senders = 8;
constexpr size_t batch_size = 64;
constexpr uint64_t go_home = 0;

using go_t = tbb::concurrent_bounded_queue<uint64_t>; /* how many items to pass */

/* 64 items that are passed as one. */
struct batch_t {
  size_t n;
  std::array<uint64_t, batch_size> items;
};

class flow_t : public row_t {
public:
  explicit flow_t(size_t senders) : seen_(max_senders), next_(max_senders) {
    if (senders < 1 || senders > max_senders) peer_fail("that many senders");
    for (size_t i = 0; i < senders; i++) go_.push_back(std::make_unique<go_t>());
  }

  ~flow_t() override {
    for (auto &go : go_) go->push(go_home);
    for (auto &thread : threads_) thread.join();
  }

  /* The calling thread is the receiver. */
  void run(uint64_t ops, peer_sample_t &sample) override {
    uint64_t each = (ops + go_.size() - 1) / go_.size(), all = each * go_.size();
    stopwatch_t watch(sample);
    for (auto &go : go_) go->push(each);
    receive(all);
    sample.ops += all;
  }

protected:
  /* The last thing a constructor does: threads call send. */
  void start() {
    for (size_t id = 0; id < go_.size(); id++) {
      threads_.emplace_back([this, id] {
        uint64_t n = 0;
        for (go_[id]->pop(n); n != go_home; go_[id]->pop(n)) send(id, n);
      });
    }
  }

  virtual void send(size_t id, uint64_t n) = 0;
  virtual void receive(uint64_t n) = 0;

  uint64_t item(size_t id) { return next_[id].n++ * max_senders + id; }

  void got(uint64_t number) {
    if (seen_[number % max_senders]++ != number / max_senders) peer_fail("an item is lost or overtaken");
  }

private:
  struct alignas(128) line_t {
    uint64_t n = 0;
  };

  std::vector<uint64_t> seen_;
  std::vector<line_t> next_;
  std::vector<std::unique_ptr<go_t>> go_;
  std::vector<std::thread> threads_;
};

class items_t : public flow_t {
public:
  explicit items_t(size_t senders) : flow_t(senders) {
    queue_.set_capacity(capacity);
    start();
  }

private:
  void send(size_t id, uint64_t n) override {
    for (uint64_t i = 0; i < n; i++) queue_.push(item(id));
  }

  void receive(uint64_t n) override {
    uint64_t number = 0;
    for (uint64_t i = 0; i < n; i++) {
      queue_.pop(number);
      got(number);
    }
  }

  tbb::concurrent_bounded_queue<uint64_t> queue_;
};

class batches_t : public flow_t {
public:
  explicit batches_t(size_t arrays) : flow_t(1) {
    queue_.set_capacity(static_cast<std::ptrdiff_t>(arrays));
    start();
  }

private:
  void send(size_t id, uint64_t n) override {
    while (n > 0) {
      batch_t batch;
      batch.n = n < batch_size ? static_cast<size_t>(n) : batch_size;
      for (size_t i = 0; i < batch.n; i++) batch.items[i] = item(id);
      queue_.push(batch);
      n -= batch.n;
    }
  }

  void receive(uint64_t n) override {
    batch_t batch{};
    for (; n > 0; n -= batch.n) {
      queue_.pop(batch);
      for (size_t i = 0; i < batch.n; i++) got(batch.items[i]);
    }
  }

  tbb::concurrent_bounded_queue<batch_t> queue_;
};

} // namespace

row_t *queue_one(const peer_size_t &) { return new items_t(1); }

row_t *queue_batch(const peer_size_t &size) { return new batches_t(size.size); }

row_t *queue_senders(const peer_size_t &size) { return new items_t(size.size); }
