// SPDX-License-Identifier: MIT
//! Counts the bytes that the program has asked its allocator for and not given back: once somebody has asked, so that
//! rows that measure time pay for a test of a flag and no more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many more than at another call; starts counting. What was there before may be given back meanwhile, hence modulo.
pub fn count() -> usize {
  ON.store(true, Relaxed);
  BYTES.load(Relaxed)
}

fn add(bytes: usize) {
  if ON.load(Relaxed) {
    BYTES.fetch_add(bytes, Relaxed);
  }
}

// SAFETY: all is left to the system's.
unsafe impl GlobalAlloc for Counting {
  unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
    add(layout.size());
    System.alloc(layout)
  }

  unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
    add(layout.size());
    System.alloc_zeroed(layout)
  }

  unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    add(size.wrapping_sub(layout.size()));
    System.realloc(block, layout, size)
  }

  unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
    add(layout.size().wrapping_neg());
    System.dealloc(block, layout)
  }
}
