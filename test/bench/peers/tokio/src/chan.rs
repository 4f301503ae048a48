// SPDX-License-Identifier: MIT
//! Channels: tokio::sync::mpsc with room for 128.
//!
//! Items are numbers, which say whose they are; the receiving side checks that each sender's come one by one.
//! "Try first" is try_send and try_recv, and an await or a blocking call only where that did not do.

use crate::harness::{fail, loop_runtime, pool_runtime, processors, run_task, timed, Impl, Run, Size};
use crate::queue::{next, put, put_now, CAPACITY};
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc::{channel, Receiver, Sender};

const MAX_SENDERS: u64 = 8;

/// A sender's end.
struct Outbox {
  tx: Sender<u64>,
  id: u64,
  next: u64,
}

impl Outbox {
  fn item(&mut self) -> u64 {
    self.next += 1;
    (self.next - 1) * MAX_SENDERS + self.id
  }

  async fn send<const TRY: bool>(&mut self, n: u64) {
    for _ in 0..n {
      let item = self.item();
      put::<_, TRY>(&self.tx, item).await;
    }
  }

  fn send_blocking<const TRY: bool>(&mut self, n: u64) {
    for _ in 0..n {
      let item = self.item();
      let left = if TRY { put_now(&self.tx, item) } else { Some(item) };
      if let Some(item) = left {
        self.tx.blocking_send(item).unwrap();
      }
    }
  }
}

/// The receiving end.
struct Inbox {
  rx: Receiver<u64>,
  seen: [u64; MAX_SENDERS as usize],
}

impl Inbox {
  fn got(&mut self, item: Option<u64>) {
    let item = item.unwrap_or_else(|| fail("a channel was closed"));
    let seen = &mut self.seen[(item % MAX_SENDERS) as usize];
    if *seen != item / MAX_SENDERS {
      fail("an item is lost or overtaken");
    }
    *seen += 1;
  }

  async fn receive<const TRY: bool>(&mut self, n: u64) {
    for _ in 0..n {
      let item = next::<_, TRY>(&mut self.rx).await;
      self.got(item);
    }
  }

  fn receive_blocking<const TRY: bool>(&mut self, n: u64) {
    for _ in 0..n {
      let now = if TRY { self.rx.try_recv().ok() } else { None };
      let item = now.or_else(|| self.rx.blocking_recv());
      self.got(item);
    }
  }
}

fn ends(senders: usize) -> (Vec<Outbox>, Inbox) {
  assert!((1..=MAX_SENDERS as usize).contains(&senders));
  let (tx, rx) = channel(CAPACITY);
  let outboxes = (0..senders as u64).map(|id| Outbox { tx: tx.clone(), id, next: 0 }).collect();
  (outboxes, Inbox { rx, seen: [0; MAX_SENDERS as usize] })
}

// --- between tasks ---------------------------------------------------------------------------------------------------

/// A task for each sender; this one receives.
async fn pass<const TRY: bool>(ends: (Vec<Outbox>, Inbox), each: u64) -> (Vec<Outbox>, Inbox) {
  let (outboxes, mut inbox) = ends;
  let senders: Vec<_> = outboxes
    .into_iter()
    .map(|mut outbox| {
      tokio::spawn(async move {
        outbox.send::<TRY>(each).await;
        outbox
      })
    })
    .collect();
  inbox.receive::<TRY>(each * senders.len() as u64).await;
  let mut outboxes = Vec::with_capacity(senders.len());
  for sender in senders {
    outboxes.push(sender.await.unwrap());
  }
  (outboxes, inbox)
}

fn tasks<const TRY: bool>(rt: tokio::runtime::Runtime, senders: usize) -> Run {
  let mut both = Some(ends(senders));
  Box::new(move |ops, s| {
    let each = (ops + senders as u64 - 1) / senders as u64;
    let mine = both.take().unwrap();
    both = Some(timed(s, each * senders as u64, || run_task(&rt, pass::<TRY>(mine, each))));
  })
}

/// Both tasks on one thread.
fn on_loop<const TRY: bool>(_: &Size) -> Run {
  tasks::<TRY>(loop_runtime(), 1)
}

/// Tasks on as many threads as there are processors, which may all come to run on one.
fn on_pool<const TRY: bool>(_: &Size) -> Run {
  tasks::<TRY>(pool_runtime(processors()), 1)
}

fn on_pool_n<const TRY: bool>(size: &Size) -> Run {
  tasks::<TRY>(pool_runtime(processors()), size.size)
}

// --- from threads ----------------------------------------------------------------------------------------------------

/// Threads that are no workers of a runtime, each with its end; told how many to send.
struct Crew {
  go: Vec<std_mpsc::Sender<u64>>,
  threads: Vec<JoinHandle<()>>,
}

impl Crew {
  fn new(outboxes: Vec<Outbox>, send: fn(&mut Outbox, u64)) -> Crew {
    let mut crew = Crew { go: Vec::new(), threads: Vec::new() };
    for mut outbox in outboxes {
      let (go, todo) = std_mpsc::channel();
      crew.go.push(go);
      crew.threads.push(thread::spawn(move || todo.iter().for_each(|n| send(&mut outbox, n))));
    }
    crew
  }

  fn start(&self, each: u64) {
    self.go.iter().for_each(|go| go.send(each).unwrap());
  }
}

impl Drop for Crew {
  fn drop(&mut self) {
    self.go.clear();
    self.threads.drain(..).for_each(|thread| thread.join().unwrap());
  }
}

/// Threads send by blocking; a task on a loop receives.
fn to_loop<const TRY: bool>(senders: usize) -> Run {
  let (outboxes, inbox) = ends(senders);
  let crew = Crew::new(outboxes, Outbox::send_blocking::<TRY>);
  let rt = loop_runtime();
  let mut inbox = Some(inbox);
  Box::new(move |ops, s| {
    let each = (ops + senders as u64 - 1) / senders as u64;
    let all = each * senders as u64;
    let mut mine = inbox.take().unwrap();
    inbox = Some(timed(s, all, || {
      crew.start(each);
      run_task(&rt, async move {
        mine.receive::<TRY>(all).await;
        mine
      })
    }));
  })
}

fn to_loop_1<const TRY: bool>(_: &Size) -> Run {
  to_loop::<TRY>(1)
}

fn to_loop_n<const TRY: bool>(size: &Size) -> Run {
  to_loop::<TRY>(size.size)
}

/// A thread sends, this one receives, both by blocking; there is no runtime.
fn to_thread<const TRY: bool>(_: &Size) -> Run {
  let (outboxes, mut inbox) = ends(1);
  let crew = Crew::new(outboxes, Outbox::send_blocking::<TRY>);
  Box::new(move |ops, s| {
    timed(s, ops, || {
      crew.start(ops);
      inbox.receive_blocking::<TRY>(ops);
    })
  })
}

pub const IMPLS: &[Impl] = &[
  Impl { row: "chan-loop", name: "tokio: mpsc", setup: on_loop::<false> },
  Impl { row: "chan-loop", name: "tokio: mpsc, try first", setup: on_loop::<true> },
  Impl { row: "chan-thread-loop", name: "tokio: mpsc, blocking_send", setup: to_loop_1::<false> },
  Impl { row: "chan-thread-loop", name: "tokio: mpsc, blocking_send, try first", setup: to_loop_1::<true> },
  Impl { row: "chan-thread-loop", name: "tokio: mpsc, tasks on multi_thread", setup: on_pool::<false> },
  Impl { row: "chan-thread-loop", name: "tokio: mpsc, tasks on multi_thread, try first", setup: on_pool::<true> },
  Impl { row: "chan-3-loop", name: "tokio: mpsc, blocking_send", setup: to_loop_n::<false> },
  Impl { row: "chan-3-loop", name: "tokio: mpsc, blocking_send, try first", setup: to_loop_n::<true> },
  Impl { row: "chan-3-loop", name: "tokio: mpsc, tasks on multi_thread", setup: on_pool_n::<false> },
  Impl { row: "chan-3-loop", name: "tokio: mpsc, tasks on multi_thread, try first", setup: on_pool_n::<true> },
  Impl { row: "chan-producers-*", name: "tokio: mpsc, blocking_send", setup: to_loop_n::<false> },
  Impl { row: "chan-producers-*", name: "tokio: mpsc, blocking_send, try first", setup: to_loop_n::<true> },
  Impl { row: "chan-producers-*", name: "tokio: mpsc, tasks on multi_thread", setup: on_pool_n::<false> },
  Impl { row: "chan-producers-*", name: "tokio: mpsc, tasks on multi_thread, try first", setup: on_pool_n::<true> },
  Impl { row: "chan-threads", name: "tokio: mpsc, blocking", setup: to_thread::<false> },
  Impl { row: "chan-threads", name: "tokio: mpsc, blocking, try first", setup: to_thread::<true> },
  Impl { row: "chan-threads", name: "tokio: mpsc, tasks on multi_thread", setup: on_pool::<false> },
  Impl { row: "chan-threads", name: "tokio: mpsc, tasks on multi_thread, try first", setup: on_pool::<true> },
];
