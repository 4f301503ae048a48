// SPDX-License-Identifier: MIT
//! Pipelines: a source, stages, and a sink that adds up; every run starts the tasks and checks the sum at its end. All
//! of them run on as many threads as the row has workers.

use crate::harness::{fail, loop_runtime, pool_runtime, run_task, spin, timed, turns_for, Impl, Run, Size};
use crate::queue::{next, put, CAPACITY};
use futures_util::stream::{self, StreamExt};
use std::future::Future;
use std::pin::Pin;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{channel, Receiver};

/// The n-th: 1, 3, 5 ...
fn number(n: u64) -> u64 {
  2 * n + 1
}

fn square(number: u64) -> u64 {
  number.wrapping_mul(number)
}

/// What comes out, for n items.
type Sum = Pin<Box<dyn Future<Output = u64> + Send>>;

fn runs(rt: Runtime, squares: usize, run: impl Fn(u64) -> Sum + 'static) -> Run {
  Box::new(move |ops, s| {
    let sum = timed(s, ops, || run_task(&rt, run(ops)));
    let one = |i| (0..squares).fold(number(i), |number, _| square(number));
    if sum != (0..ops).fold(0, |sum: u64, i| sum.wrapping_add(one(i))) {
      fail("the pipeline's sum is wrong");
    }
  })
}

fn generate<const TRY: bool>(n: u64) -> Receiver<u64> {
  let (tx, rx) = channel(CAPACITY);
  tokio::spawn(async move {
    for i in 0..n {
      put::<_, TRY>(&tx, number(i)).await;
    }
  });
  rx
}

async fn add<const TRY: bool>(mut rx: Receiver<u64>) -> u64 {
  let mut sum: u64 = 0;
  while let Some(number) = next::<_, TRY>(&mut rx).await {
    sum = sum.wrapping_add(number);
  }
  sum
}

// --- squares: a task for each stage ----------------------------------------------------------------------------------

fn squared<const TRY: bool>(mut from: Receiver<u64>) -> Receiver<u64> {
  let (tx, rx) = channel(CAPACITY);
  tokio::spawn(async move {
    while let Some(number) = next::<_, TRY>(&mut from).await {
      put::<_, TRY>(&tx, square(number)).await;
    }
  });
  rx
}

fn squares<const TRY: bool>(rt: Runtime, stages: usize) -> Run {
  runs(rt, stages, move |n| {
    Box::pin(async move {
      let numbers = (0..stages).fold(generate::<TRY>(n), |from, _| squared::<TRY>(from));
      add::<TRY>(numbers).await
    })
  })
}

fn squares_loop<const TRY: bool>(size: &Size) -> Run {
  squares::<TRY>(loop_runtime(), size.size)
}

fn squares_pool<const TRY: bool>(size: &Size) -> Run {
  squares::<TRY>(pool_runtime(size.workers), size.size)
}

// --- work: an item at a time, on all threads -------------------------------------------------------------------------

fn work(size: &Size, run: impl Fn(u64, u64, usize) -> Sum + 'static) -> Run {
  let turns = turns_for(size.size as u64);
  let workers = size.workers;
  runs(pool_runtime(workers), 0, move |n| run(n, turns, workers))
}

/// The source has a channel to each of as many tasks as workers, and gives them items in turn.
fn work_dealt(size: &Size) -> Run {
  work(size, |n, turns, workers| {
    Box::pin(async move {
      let (tx, rx) = channel(CAPACITY);
      let mut to = Vec::new();
      for _ in 0..workers {
        let (mine, mut numbers) = channel(CAPACITY / workers.max(1));
        let tx = tx.clone();
        to.push(mine);
        tokio::spawn(async move {
          while let Some(number) = next::<_, false>(&mut numbers).await {
            put::<_, false>(&tx, spin(number, turns)).await;
          }
        });
      }
      drop(tx);
      tokio::spawn(async move {
        for i in 0..n {
          put::<_, false>(&to[i as usize % to.len()], number(i)).await;
        }
      });
      add::<false>(rx).await
    })
  })
}

/// A task for each item, as many as the stream lets be under way; the sink is the stream's end.
fn work_stream(size: &Size) -> Run {
  work(size, |n, turns, _| {
    Box::pin(async move {
      stream::iter((0..n).map(number))
        .map(|number| tokio::spawn(async move { spin(number, turns) }))
        .buffer_unordered(CAPACITY)
        .fold(0, |sum: u64, number| async move { sum.wrapping_add(number.unwrap()) })
        .await
    })
  })
}

/// The same with a task for 16 items, and as many items under way.
fn work_chunks(size: &Size) -> Run {
  const CHUNK: usize = 16;
  work(size, |n, turns, _| {
    Box::pin(async move {
      stream::iter((0..n).map(number))
        .chunks(CHUNK)
        .map(|numbers| {
          tokio::spawn(async move { numbers.into_iter().map(|number| spin(number, turns)).collect::<Vec<_>>() })
        })
        .buffer_unordered(CAPACITY / CHUNK)
        .fold(0, |sum: u64, numbers| async move { numbers.unwrap().into_iter().fold(sum, u64::wrapping_add) })
        .await
    })
  })
}

pub const IMPLS: &[Impl] = &[
  Impl { row: "pipe-squares", name: "tokio: tasks, mpsc", setup: squares_loop::<false> },
  Impl { row: "pipe-squares", name: "tokio: tasks, mpsc, try first", setup: squares_loop::<true> },
  Impl { row: "pipe-squares-apart", name: "tokio: tasks, mpsc", setup: squares_pool::<false> },
  Impl { row: "pipe-squares-apart", name: "tokio: tasks, mpsc, try first", setup: squares_pool::<true> },
  Impl { row: "pipe-stages-*", name: "tokio: tasks, mpsc", setup: squares_loop::<false> },
  Impl { row: "pipe-stages-*", name: "tokio: tasks, mpsc, try first", setup: squares_loop::<true> },
  Impl { row: "pipe-work-1*", name: "tokio: workers, a channel each", setup: work_dealt },
  Impl { row: "pipe-work-1*", name: "tokio: buffer_unordered, a task each", setup: work_stream },
  Impl { row: "pipe-work-1*", name: "floor: tokio, 16 at once by hand", setup: work_chunks },
  Impl { row: "pipe-workers-*", name: "tokio: workers, a channel each", setup: work_dealt },
  Impl { row: "pipe-workers-*", name: "tokio: buffer_unordered, a task each", setup: work_stream },
  Impl { row: "pipe-workers-*", name: "floor: tokio, 16 at once by hand", setup: work_chunks },
];
