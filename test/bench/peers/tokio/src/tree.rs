// SPDX-License-Identifier: MIT
//! Trees of tokens: the price of one cancel, spread over those that it reaches.

use crate::harness::{fail, loop_runtime, run_task, Impl, Run, Size};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

/// A round's chains hold so many tokens together.
const CHAINED: usize = 10_000;

fn must_be_cancelled(token: &CancellationToken) {
  if !token.is_cancelled() {
    fail("the cancel did not reach every token");
  }
}

fn in_chains(depth: usize) -> usize {
  (CHAINED / depth).max(1) * depth
}

/// So many rounds as are about so many operations. Each works on n tokens and says how long what is timed of it took.
fn rounds<R>(size: usize, n: usize, round: fn(CancellationToken, usize) -> R) -> Run
where
  R: Future<Output = Duration> + Send + 'static,
{
  let rt = loop_runtime();
  let root = CancellationToken::new();
  Box::new(move |ops, s| {
    let mut done = 0;
    while done < ops {
      s.amount += run_task(&rt, round(root.clone(), size)).as_nanos() as u64;
      done += n as u64;
    }
    s.ops += done;
  })
}

/// Children of one token under the root. Timed: its cancel and the loop's next turn; and, apart, the end of all tokens
/// in the order they were made, and one more turn.
async fn family(root: CancellationToken, n: usize) -> (Duration, Duration) {
  let top = root.child_token();
  let children: Vec<_> = (0..n).map(|_| top.child_token()).collect();
  yield_now().await;
  let start = Instant::now();
  top.cancel();
  yield_now().await;
  let cancel = start.elapsed();
  must_be_cancelled(&children[0]);
  must_be_cancelled(&children[n - 1]);
  let start = Instant::now();
  drop(children);
  drop(top);
  yield_now().await;
  (cancel, start.elapsed())
}

async fn family_cancel(root: CancellationToken, n: usize) -> Duration {
  family(root, n).await.0
}

async fn family_free(root: CancellationToken, n: usize) -> Duration {
  let (cancel, free) = family(root, n).await;
  cancel + free
}

/// Chains, each token the child of the one before. Timed: the cancel of the first of each chain, one after the other,
/// and the loop's next turn.
async fn chains(root: CancellationToken, depth: usize) -> Duration {
  let n = in_chains(depth);
  let mut tokens: Vec<CancellationToken> = Vec::with_capacity(n);
  for i in 0..n {
    let parent = if i % depth == 0 { &root } else { &tokens[i - 1] };
    let child = parent.child_token();
    tokens.push(child);
  }
  yield_now().await;
  let start = Instant::now();
  tokens.iter().step_by(depth).for_each(CancellationToken::cancel);
  yield_now().await;
  let cancel = start.elapsed();
  tokens.iter().for_each(must_be_cancelled);
  cancel
}

fn children(size: &Size) -> Run {
  rounds(size.size, size.size, family_cancel)
}

fn children_free(size: &Size) -> Run {
  rounds(size.size, size.size, family_free)
}

fn chain(size: &Size) -> Run {
  rounds(size.size, in_chains(size.size), chains)
}

pub const IMPLS: &[Impl] = &[
  Impl { row: "children", name: "tokio: child_token", setup: children },
  Impl { row: "children-1k", name: "tokio: child_token", setup: children },
  Impl { row: "children-10k", name: "tokio: child_token", setup: children },
  Impl { row: "children-100k", name: "tokio: child_token", setup: children },
  Impl { row: "children-free", name: "tokio: child_token", setup: children_free },
  Impl { row: "chain-*", name: "tokio: child_token", setup: chain },
];
