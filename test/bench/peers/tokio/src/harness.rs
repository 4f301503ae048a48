// SPDX-License-Identifier: MIT
//! The lines that ../../peer.h describes, and what all implementations share.

use std::future::Future;
use std::io::Write;
use std::mem::MaybeUninit;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// What a sample has gathered.
#[derive(Default)]
pub struct Sample {
  pub ops: u64,
  pub amount: u64,
  pub cpu_ns: u64,
}

/// What the row says.
#[derive(Clone, Copy)]
pub struct Size {
  pub size: usize,
  pub workers: usize,
}

/// Does about so many operations (whole rounds, at least one) and adds to the sample. Dropping it is the teardown.
pub type Run = Box<dyn FnMut(u64, &mut Sample)>;

pub struct Impl {
  /// One that ends with "*" stands for all rows that begin so.
  pub row: &'static str,
  pub name: &'static str,
  pub setup: fn(&Size) -> Run,
}

pub fn fail(what: &str) -> ! {
  eprintln!("tokio: {what}");
  exit(1);
}

// --- for implementations ---------------------------------------------------------------------------------------------

/// One thread, as a server that has one loop: with I/O and timers, though rows of channels need neither.
pub fn loop_runtime() -> Runtime {
  Builder::new_current_thread().enable_all().build().unwrap()
}

/// One thread that has timers and no I/O: to wake it takes no system call.
pub fn timer_runtime() -> Runtime {
  Builder::new_current_thread().enable_time().build().unwrap()
}

/// Threads that steal tasks from each other.
pub fn pool_runtime(workers: usize) -> Runtime {
  Builder::new_multi_thread().worker_threads(workers.max(1)).enable_all().build().unwrap()
}

pub fn processors() -> usize {
  std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Runs it as a task: what block_on polls itself is woken by a system call each time.
pub fn run_task<F>(rt: &Runtime, task: F) -> F::Output
where
  F: Future + Send + 'static,
  F::Output: Send + 'static,
{
  rt.block_on(async { tokio::spawn(task).await.unwrap() })
}

fn cpu_ns() -> u64 {
  let mut usage = MaybeUninit::<libc::rusage>::uninit();
  // SAFETY: getrusage fills it in, or says that it has not.
  let usage = unsafe {
    if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
      fail("getrusage");
    }
    usage.assume_init()
  };
  let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1_000;
  ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// Adds what a run took.
pub fn timed<T>(s: &mut Sample, ops: u64, run: impl FnOnce() -> T) -> T {
  let cpu = cpu_ns();
  let start = Instant::now();
  let result = run();
  s.amount += start.elapsed().as_nanos() as u64;
  s.cpu_ns += cpu_ns() - cpu;
  s.ops += ops;
  result
}

/// The work of an item: so many turns, each of which needs the one before. Not inlined, so that it is the same code
/// everywhere.
#[inline(never)]
pub fn spin(number: u64, turns: u64) -> u64 {
  let mut state = number;
  for _ in 0..turns {
    state = (state ^ state >> 29).wrapping_mul(6364136223846793005);
  }
  // Never so; the compiler does not know.
  if state == 0x5851f42d4c957f2d {
    1
  } else {
    number
  }
}

static TURNS_PER_MS: AtomicU64 = AtomicU64::new(0);

/// How many turns take so long, as --turns-per-ms has it.
pub fn turns_for(ns: u64) -> u64 {
  match TURNS_PER_MS.load(Relaxed) {
    0 => fail("this row wants --turns-per-ms"),
    turns => ns * turns / 1_000_000,
  }
}

// --- samples ---------------------------------------------------------------------------------------------------------

struct Options {
  row: String,
  name: String,
  size: Size,
  sample_ns: u64,
  once: bool,
}

/// Finds how many operations fill a fifth of a sample, and goes on for a third of one.
fn warm_up(run: &mut Run, sample_ns: u64) -> u64 {
  let mut ops = 1;
  let mut s = Sample::default();
  loop {
    let before = s.amount;
    run(ops, &mut s);
    if s.amount - before < sample_ns / 5 {
      ops *= 2;
    } else if s.amount >= sample_ns / 3 {
      return ops;
    }
  }
}

fn serve(implementation: &Impl, o: &Options) {
  let mut run = (implementation.setup)(&o.size);
  let ops = if o.once { 1 } else { warm_up(&mut run, o.sample_ns) };
  say("ready");
  for line in std::io::stdin().lines() {
    if !matches!(line.as_deref(), Ok("sample")) {
      fail("a line that is not \"sample\"");
    }
    let mut run_for = |ns| {
      let mut s = Sample::default();
      loop {
        run(ops, &mut s);
        if s.amount >= ns {
          return s;
        }
      }
    };
    if !o.once {
      run_for(o.sample_ns / 2); // not counted
    }
    let s = run_for(if o.once { 0 } else { o.sample_ns });
    say(&format!("{} {} {}", s.ops, s.amount, s.cpu_ns));
  }
}

/// A line that is on its way when this returns.
fn say(line: &str) {
  let mut out = std::io::stdout();
  if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
    fail("nobody reads its output");
  }
}

// --- the command line ------------------------------------------------------------------------------------------------

const USAGE: &str = "\
usage: tokio --list | --about
       --row ROW --impl NAME [--size N] [--workers W] [--turns-per-ms N] [--sample-ns NS] [--once]
uvf_bench --peers DIRECTORY runs it; by hand, a line \"sample\" on its input gets a line
\"<operations> <amount> <CPU ns>\" on its output.";

fn wrong_usage() -> ! {
  eprintln!("{USAGE}");
  exit(2);
}

/// None when all has been said.
fn options(impls: &[&[Impl]]) -> Option<Options> {
  let mut o = Options {
    row: String::new(),
    name: String::new(),
    size: Size { size: 0, workers: 0 },
    sample_ns: 300_000_000,
    once: false,
  };
  let mut args = std::env::args().skip(1);
  while let Some(arg) = args.next() {
    match arg.as_str() {
      "--list" => {
        impls.iter().copied().flatten().for_each(|i| say(&format!("{}\t{}", i.row, i.name)));
        return None;
      }
      "--about" => {
        say(env!("PEER_ABOUT"));
        return None;
      }
      "--help" => {
        say(USAGE);
        return None;
      }
      "--once" => {
        o.once = true;
        continue;
      }
      _ => {}
    }
    let value = args.next().unwrap_or_else(|| wrong_usage());
    let number = || value.parse::<u64>().unwrap_or_else(|_| wrong_usage());
    match arg.as_str() {
      "--row" => o.row = value,
      "--impl" => o.name = value,
      "--size" => o.size.size = number() as usize,
      "--workers" => o.size.workers = number() as usize,
      "--turns-per-ms" => TURNS_PER_MS.store(number(), Relaxed),
      "--sample-ns" => o.sample_ns = number(),
      _ => wrong_usage(),
    }
  }
  Some(o)
}

fn row_matches(pattern: &str, row: &str) -> bool {
  match pattern.strip_suffix('*') {
    Some(beginning) => row.starts_with(beginning),
    None => pattern == row,
  }
}

pub fn main(impls: &[&[Impl]]) {
  let o = match options(impls) {
    Some(o) => o,
    None => return,
  };
  match impls.iter().copied().flatten().find(|i| row_matches(i.row, &o.row) && i.name == o.name) {
    Some(found) => serve(found, &o),
    None => {
      eprintln!("tokio: there is no \"{}\" for the row \"{}\"; --list names what there is", o.name, o.row);
      exit(2);
    }
  }
}
