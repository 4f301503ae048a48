// SPDX-License-Identifier: MIT
//! The two idioms of a bounded channel. Without TRY: an await for each item, as most programs have it. With TRY: what
//! needs no waiting first, and an await only where that did not do; it spends nothing of the task's budget.

use crate::harness::fail;
use tokio::sync::mpsc::error::TrySendError::{Closed, Full};
use tokio::sync::mpsc::{Receiver, Sender};

pub const CAPACITY: usize = 128;

/// The item again if it must wait.
pub fn put_now<T>(tx: &Sender<T>, item: T) -> Option<T> {
  match tx.try_send(item) {
    Ok(()) => None,
    Err(Full(item)) => Some(item),
    Err(Closed(_)) => fail("a channel was closed"),
  }
}

pub async fn put<T, const TRY: bool>(tx: &Sender<T>, item: T) {
  let left = if TRY { put_now(tx, item) } else { Some(item) };
  if let Some(item) = left {
    if tx.send(item).await.is_err() {
      fail("a channel was closed");
    }
  }
}

/// None when all senders are gone.
pub async fn next<T, const TRY: bool>(rx: &mut Receiver<T>) -> Option<T> {
  if TRY {
    if let Ok(item) = rx.try_recv() {
      return Some(item);
    }
  }
  rx.recv().await
}
