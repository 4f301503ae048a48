// SPDX-License-Identifier: MIT
//! Jobs that are started from a loop, and groups of tasks.

use crate::harness::{loop_runtime, pool_runtime, run_task, timed, Impl, Run, Size};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{spawn_blocking, JoinHandle, JoinSet};

fn nothing() {}

fn spin_1us() {
  let from = Instant::now();
  while from.elapsed() < Duration::from_micros(1) {}
}

// --- jobs ------------------------------------------------------------------------------------------------------------

/// So many jobs are under way; when one is done, its end is seen by this task, and the next is started.
async fn pump(ops: u64, in_flight: usize, start: impl Fn() -> JoinHandle<()>) {
  stream::iter(0..ops).map(|_| start()).buffer_unordered(in_flight).for_each(|done| async move { done.unwrap() }).await;
}

/// As pump, by as many tasks, each of which awaits one job at a time.
async fn pump_apart(ops: u64, in_flight: usize, start: impl Fn() -> JoinHandle<()> + Copy + Send + 'static) {
  let mut tasks = JoinSet::new();
  let n = ops.min(in_flight as u64);
  for i in 0..n {
    let mine = ops / n + u64::from(i < ops % n);
    tasks.spawn(async move {
      for _ in 0..mine {
        let job = start();
        job.await.unwrap();
      }
    });
  }
  while let Some(done) = tasks.join_next().await {
    done.unwrap();
  }
}

fn blocking_runtime(workers: usize) -> Runtime {
  Builder::new_current_thread().enable_all().max_blocking_threads(workers).build().unwrap()
}

/// From a loop to as many threads as workers, which are there for what blocks.
fn blocking(size: &Size, job: fn()) -> Run {
  let rt = blocking_runtime(size.workers);
  let n = size.size;
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, pump(ops, n, move || spawn_blocking(job)))))
}

fn blocking_apart(size: &Size, job: fn()) -> Run {
  let rt = blocking_runtime(size.workers);
  let n = size.size;
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, pump_apart(ops, n, move || spawn_blocking(job)))))
}

/// From a loop to tasks on another runtime, which has as many threads as workers.
fn across(size: &Size, job: fn()) -> Run {
  let rt = loop_runtime();
  let pool = pool_runtime(size.workers);
  let n = size.size;
  Box::new(move |ops, s| {
    let to: Handle = pool.handle().clone();
    timed(s, ops, || run_task(&rt, pump(ops, n, move || to.spawn(async move { job() }))))
  })
}

/// There is no loop: what starts the jobs runs on their threads, and a job may run on the thread that started it. With
/// one worker it always does, and whoever starts a job that takes long waits for it.
fn within(size: &Size, job: fn()) -> Run {
  let rt = pool_runtime(size.workers);
  let n = size.size;
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, pump(ops, n, move || tokio::spawn(async move { job() })))))
}

fn within_apart(size: &Size, job: fn()) -> Run {
  let rt = pool_runtime(size.workers);
  let n = size.size;
  Box::new(move |ops, s| {
    timed(s, ops, || run_task(&rt, pump_apart(ops, n, move || tokio::spawn(async move { job() }))))
  })
}

// --- groups ----------------------------------------------------------------------------------------------------------

/// A set is made, tasks that are over at once are started in it, it is waited for and dropped. Dropping it early, or
/// abort_all, would cancel its tasks.
async fn join_sets(ops: u64, n: usize) {
  for _ in 0..ops {
    let mut set = JoinSet::new();
    for _ in 0..n {
      set.spawn(async {});
    }
    while let Some(done) = set.join_next().await {
      done.unwrap();
    }
  }
}

/// A list of what was started, waited for one by one; nothing would cancel the others when one fails.
async fn handles(ops: u64, n: usize) {
  for _ in 0..ops {
    let tasks: Vec<_> = (0..n).map(|_| tokio::spawn(async {})).collect();
    for task in tasks {
      task.await.unwrap();
    }
  }
}

/// Not tasks of the runtime but futures in a set, which the one task that waits for them polls.
async fn unordered(ops: u64, n: usize) {
  for _ in 0..ops {
    let mut set: FuturesUnordered<_> = (0..n).map(|_| async {}).collect();
    while let Some(()) = set.next().await {}
  }
}

fn group_loop(size: &Size) -> Run {
  let (rt, n) = (loop_runtime(), size.size);
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, join_sets(ops, n))))
}

fn group_loop_unordered(size: &Size) -> Run {
  let (rt, n) = (loop_runtime(), size.size);
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, unordered(ops, n))))
}

fn group_pool(size: &Size) -> Run {
  let (rt, n) = (pool_runtime(size.workers), size.size);
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, join_sets(ops, n))))
}

fn group_pool_handles(size: &Size) -> Run {
  let (rt, n) = (pool_runtime(size.workers), size.size);
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, handles(ops, n))))
}

pub const IMPLS: &[Impl] = &[
  Impl { row: "job-64-*", name: "tokio: spawn_blocking", setup: |size| blocking(size, nothing) },
  Impl { row: "job-64-*", name: "tokio: spawn_blocking from 64 tasks", setup: |size| blocking_apart(size, nothing) },
  Impl { row: "job-64-*", name: "tokio: spawn from loop to threads", setup: |size| across(size, nothing) },
  Impl { row: "job-64-*", name: "tokio: spawn, threads alone", setup: |size| within(size, nothing) },
  Impl {
    row: "job-64-*",
    name: "tokio: spawn from 64 tasks, threads alone",
    setup: |size| within_apart(size, nothing),
  },
  Impl { row: "job-1us-*", name: "tokio: spawn_blocking", setup: |size| blocking(size, spin_1us) },
  Impl { row: "job-1us-*", name: "tokio: spawn_blocking from 64 tasks", setup: |size| blocking_apart(size, spin_1us) },
  Impl { row: "job-1us-*", name: "tokio: spawn from loop to threads", setup: |size| across(size, spin_1us) },
  Impl { row: "job-1us-*", name: "tokio: spawn, threads alone", setup: |size| within(size, spin_1us) },
  Impl {
    row: "job-1us-*",
    name: "tokio: spawn from 64 tasks, threads alone",
    setup: |size| within_apart(size, spin_1us),
  },
  Impl { row: "group-loop-*", name: "tokio: JoinSet", setup: group_loop },
  Impl { row: "group-loop-*", name: "tokio: FuturesUnordered", setup: group_loop_unordered },
  Impl { row: "group-pool-*", name: "tokio: JoinSet", setup: group_pool },
  Impl { row: "group-pool-*", name: "tokio: join handles", setup: group_pool_handles },
];
