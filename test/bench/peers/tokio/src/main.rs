// SPDX-License-Identifier: MIT
//! The peer in tokio: the work of uvf_bench's rows as a program in Rust would have it done.

mod alloc;
mod chan;
mod context;
mod harness;
mod job;
mod pipe;
mod queue;
mod tree;

fn main() {
  harness::main(&[context::IMPLS, tree::IMPLS, chan::IMPLS, pipe::IMPLS, job::IMPLS]);
}
