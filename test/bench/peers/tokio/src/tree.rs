// SPDX-License-Identifier: MIT
//! Trees of tokens: the price of one cancel, spread over those that it reaches.

use crate::harness::{fail, loop_runtime, run_task, Impl, Run, Size};
use std::time::{Duration, Instant};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

/// Which tokens a cancelled one has below it.
type Make = fn(&CancellationToken, usize) -> Vec<CancellationToken>;

fn children_of(top: &CancellationToken, n: usize) -> Vec<CancellationToken> {
    (0..n).map(|_| top.child_token()).collect()
}

/// Each is the child of the one before.
fn chain_of(top: &CancellationToken, n: usize) -> Vec<CancellationToken> {
    let mut chain: Vec<CancellationToken> = Vec::with_capacity(n);
    for i in 0..n {
        let next = chain.get(i.wrapping_sub(1)).unwrap_or(top).child_token();
        chain.push(next);
    }
    chain
}

/// One cancel of a token under the root, and the loop's next turn; then, in the order they were made, the end of all
/// tokens and one more turn. The two are timed apart.
async fn round(root: CancellationToken, n: usize, make: Make) -> (Duration, Duration) {
    let top = root.child_token();
    let below = make(&top, n);
    yield_now().await;
    let start = Instant::now();
    top.cancel();
    yield_now().await;
    let cancel = start.elapsed();
    if !below[0].is_cancelled() || !below[n - 1].is_cancelled() {
        fail("the cancel did not reach every token");
    }
    let start = Instant::now();
    drop(below);
    drop(top);
    yield_now().await;
    (cancel, start.elapsed())
}

/// `above`: how many of what is counted are the cancelled token itself.
fn tree(n: usize, above: usize, make: Make, with_free: bool) -> Run {
    let rt = loop_runtime();
    let root = CancellationToken::new();
    Box::new(move |ops, s| {
        let mut done = 0;
        while done < ops {
            let (cancel, free) = run_task(&rt, round(root.clone(), n - above, make));
            s.amount += (if with_free { cancel + free } else { cancel }).as_nanos() as u64;
            done += n as u64;
        }
        s.ops += done;
    })
}

fn children(size: &Size) -> Run {
    tree(size.size, 0, children_of, false)
}

fn children_free(size: &Size) -> Run {
    tree(size.size, 0, children_of, true)
}

/// The first of the chain is what is cancelled.
fn chain(size: &Size) -> Run {
    tree(size.size.max(2), 1, chain_of, false)
}

pub const IMPLS: &[Impl] = &[
    Impl { row: "children", name: "tokio: child_token", setup: children },
    Impl { row: "children-1k", name: "tokio: child_token", setup: children },
    Impl { row: "children-10k", name: "tokio: child_token", setup: children },
    Impl { row: "children-100k", name: "tokio: child_token", setup: children },
    Impl { row: "children-free", name: "tokio: child_token", setup: children_free },
    Impl { row: "chain-*", name: "tokio: child_token", setup: chain },
];
