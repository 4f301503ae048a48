// SPDX-License-Identifier: MIT
//! Contexts: a CancellationToken is what can be cancelled and has children, tokio::time is what has a deadline.
//!
//! A timer of tokio's exists for the runtime only once it has been polled, so each is polled as soon as it is made. The
//! root is a token of the program's own; as with uvf_bench, the loop gets a turn after every 256 operations.

use crate::alloc;
use crate::harness::{fail, loop_runtime, run_task, timed, timer_runtime, Impl, Run, Sample, Size};
use futures_util::future::poll_fn;
use std::future::{pending, Future, Pending};
use std::mem::size_of;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout, Timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

const HOUR: Duration = Duration::from_secs(3600);
const TURN_EVERY: u64 = 256;

type Root = &'static CancellationToken;

/// A server's root lives as long as the program; borrowed so, it needs no count of who holds it.
fn new_root() -> Root {
  Box::leak(Box::new(CancellationToken::new()))
}

fn must_wait<T>(poll: Poll<T>) {
  if poll.is_ready() {
    fail("a timeout of one hour is over already, or its root is");
  }
}

/// The loop's turns are in it.
async fn repeat(ops: u64, mut op: impl FnMut(&mut Context<'_>)) {
  let mut left = ops;
  while left > 0 {
    let n = left.min(TURN_EVERY);
    poll_fn(|cx| {
      (0..n).for_each(|_| op(cx));
      Poll::Ready(())
    })
    .await;
    if n == TURN_EVERY {
      yield_now().await;
    }
    left -= n;
  }
}

/// The same operation again and again, on one root.
fn one(rt: Runtime, op: fn(Root, &mut Context<'_>)) -> Run {
  let root = new_root();
  Box::new(move |ops, s| timed(s, ops, || run_task(&rt, repeat(ops, move |cx| op(root, cx)))))
}

// --- one at a time ---------------------------------------------------------------------------------------------------

/// What waits is under a deadline and under the root's token; it is cancelled as tokio cancels: by being dropped.
fn drop_timeout(root: Root, cx: &mut Context<'_>) {
  let request = timeout(HOUR, root.cancelled());
  tokio::pin!(request);
  must_wait(request.as_mut().poll(cx));
}

/// A deadline alone, dropped. What is above it is the task that owns it: when that is aborted, this is dropped too. No
/// token reaches it, and nobody is told.
fn drop_bare_timeout(_: Root, cx: &mut Context<'_>) {
  let request = timeout(HOUR, pending::<()>());
  tokio::pin!(request);
  must_wait(request.as_mut().poll(cx));
}

/// True when it was cancelled.
async fn until_over(token: CancellationToken) -> bool {
  tokio::select! {
    biased;
    () = token.cancelled() => true,
    () = sleep(HOUR) => false,
  }
}

/// A token of its own, under the root's: whoever holds it may cancel, and it may have children. What waits is told.
fn cancel_timeout(root: Root, cx: &mut Context<'_>) {
  let child = root.child_token();
  let request = until_over(child.clone());
  tokio::pin!(request);
  must_wait(request.as_mut().poll(cx));
  child.cancel();
  if request.poll(cx) != Poll::Ready(true) {
    fail("a request was not cancelled");
  }
}

fn cancel_token(root: Root, _: &mut Context<'_>) {
  let child = root.child_token();
  child.cancel();
}

fn timeout_dropped(_: &Size) -> Run {
  one(loop_runtime(), drop_timeout)
}

/// With nothing else outstanding, each timer is the next one to fire, and the runtime wakes itself to see it: a system
/// call where there is I/O to be waited for, none here.
fn timeout_dropped_no_io(_: &Size) -> Run {
  one(timer_runtime(), drop_timeout)
}

fn timeout_bare(_: &Size) -> Run {
  one(loop_runtime(), drop_bare_timeout)
}

fn timeout_cancelled(_: &Size) -> Run {
  one(loop_runtime(), cancel_timeout)
}

fn cancel(_: &Size) -> Run {
  one(loop_runtime(), cancel_token)
}

/// Takes the token's lock each time.
fn err(_: &Size) -> Run {
  let child = new_root().child_token();
  Box::new(move |ops, s| {
    let seen = timed(s, ops, || (0..ops).fold(false, |seen, _| seen | child.is_cancelled()));
    if seen {
      fail("a token is cancelled");
    }
  })
}

// --- among many ------------------------------------------------------------------------------------------------------

/// A request that stands among others, with a timeout of an hour.
trait Request: Send + Sized + 'static {
  fn begin(root: Root, cx: &mut Context<'_>) -> Self;
  /// Ends it and begins another in its place.
  fn replace(&mut self, root: Root, cx: &mut Context<'_>);
}

/// What waits is made in the memory of the one that was dropped, as in a task that goes on with its next request.
struct Dropped(Pin<Box<Timeout<WaitForCancellationFuture<'static>>>>);

impl Request for Dropped {
  fn begin(root: Root, cx: &mut Context<'_>) -> Self {
    let mut request = Box::pin(timeout(HOUR, root.cancelled()));
    must_wait(request.as_mut().poll(cx));
    Dropped(request)
  }

  fn replace(&mut self, root: Root, cx: &mut Context<'_>) {
    self.0.set(timeout(HOUR, root.cancelled()));
    must_wait(self.0.as_mut().poll(cx));
  }
}

/// A deadline alone, as drop_bare_timeout.
struct Bare(Pin<Box<Timeout<Pending<()>>>>);

impl Request for Bare {
  fn begin(_: Root, cx: &mut Context<'_>) -> Self {
    let mut request = Box::pin(timeout(HOUR, pending()));
    must_wait(request.as_mut().poll(cx));
    Bare(request)
  }

  fn replace(&mut self, _: Root, cx: &mut Context<'_>) {
    self.0.set(timeout(HOUR, pending()));
    must_wait(self.0.as_mut().poll(cx));
  }
}

/// A token and what waits under it.
struct Cancelled {
  child: CancellationToken,
  request: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl Request for Cancelled {
  fn begin(root: Root, cx: &mut Context<'_>) -> Self {
    let child = root.child_token();
    let mut request = Box::pin(until_over(child.clone()));
    must_wait(request.as_mut().poll(cx));
    Cancelled { child, request }
  }

  fn replace(&mut self, root: Root, cx: &mut Context<'_>) {
    self.child.cancel();
    if self.request.as_mut().poll(cx) != Poll::Ready(true) {
      fail("a request was not cancelled");
    }
    *self = Cancelled::begin(root, cx);
  }
}

/// Where the next one is replaced.
struct Place {
  at: usize,
  seed: u64,
}

impl Place {
  fn oldest(&mut self, n: usize) -> usize {
    let at = self.at;
    self.at = if at + 1 == n { 0 } else { at + 1 };
    at
  }

  fn random(&mut self, n: usize) -> usize {
    self.seed ^= self.seed << 13;
    self.seed ^= self.seed >> 7;
    self.seed ^= self.seed << 17;
    (self.seed % n as u64) as usize
  }
}

struct Ring<R> {
  requests: Vec<R>,
  place: Place,
}

async fn replace<R: Request>(mut ring: Ring<R>, ops: u64, root: Root, next: fn(&mut Place, usize) -> usize) -> Ring<R> {
  let Ring { requests, place } = &mut ring;
  repeat(ops, |cx| {
    let at = next(place, requests.len());
    requests[at].replace(root, cx);
  })
  .await;
  ring
}

async fn begin_all<R: Request>(size: usize, root: Root) -> Vec<R> {
  let mut requests = Vec::with_capacity(size);
  repeat(size as u64, |cx| requests.push(R::begin(root, cx))).await;
  requests
}

fn ring<R: Request>(size: &Size, next: fn(&mut Place, usize) -> usize) -> Run {
  let rt = loop_runtime();
  let root = new_root();
  let requests = run_task(&rt, begin_all::<R>(size.size, root));
  let mut ring = Some(Ring { requests, place: Place { at: 0, seed: 0x9e3779b97f4a7c15 } });
  Box::new(move |ops, s| {
    let mine = ring.take().unwrap();
    ring = Some(timed(s, ops, || run_task(&rt, replace(mine, ops, root, next))));
  })
}

fn rotate<R: Request>(size: &Size) -> Run {
  ring::<R>(size, Place::oldest)
}

fn random<R: Request>(size: &Size) -> Run {
  ring::<R>(size, Place::random)
}

/// What the runtime, the root and the requests have asked the allocator for, by request; not the list of requests.
fn bytes<R: Request>(size: &Size) -> Run {
  let n = size.size;
  Box::new(move |_, s: &mut Sample| {
    let before = alloc::count();
    let rt = loop_runtime();
    let requests = run_task(&rt, begin_all::<R>(n, new_root()));
    let held = alloc::count().wrapping_sub(before) - requests.capacity() * size_of::<R>();
    s.amount += held as u64;
    s.ops += n as u64;
  })
}

pub const IMPLS: &[Impl] = &[
  Impl { row: "timeout", name: "tokio: timeout, dropped", setup: timeout_dropped },
  Impl { row: "timeout", name: "tokio: timeout, dropped, no I/O driver", setup: timeout_dropped_no_io },
  Impl { row: "timeout", name: "tokio: timeout without a token, dropped", setup: timeout_bare },
  Impl { row: "timeout", name: "tokio: child_token, sleep, cancel", setup: timeout_cancelled },
  Impl { row: "rotate-*", name: "tokio: timeout, dropped", setup: rotate::<Dropped> },
  Impl { row: "rotate-*", name: "tokio: timeout without a token, dropped", setup: rotate::<Bare> },
  Impl { row: "rotate-*", name: "tokio: child_token, sleep, cancel", setup: rotate::<Cancelled> },
  Impl { row: "random-1m", name: "tokio: timeout, dropped", setup: random::<Dropped> },
  Impl { row: "random-1m", name: "tokio: timeout without a token, dropped", setup: random::<Bare> },
  Impl { row: "random-1m", name: "tokio: child_token, sleep, cancel", setup: random::<Cancelled> },
  Impl { row: "cancel", name: "tokio: child_token", setup: cancel },
  Impl { row: "bytes", name: "tokio: timeout", setup: bytes::<Dropped> },
  Impl { row: "bytes", name: "tokio: timeout without a token", setup: bytes::<Bare> },
  Impl { row: "bytes", name: "tokio: child_token, sleep", setup: bytes::<Cancelled> },
  Impl { row: "err", name: "tokio: is_cancelled", setup: err },
];
