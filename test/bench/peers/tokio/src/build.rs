// SPDX-License-Identifier: MIT
//! Tells the program which versions it was built from: a crate cannot ask that of another.

use std::process::Command;
use std::{env, fs, path::Path};

/// The version of a package in a lock file, where it stands on the line after its name.
fn version_of<'a>(lock: &'a str, package: &str) -> &'a str {
  let name = format!("name = \"{package}\"\nversion = \"");
  lock.split(&name).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?")
}

fn main() {
  let lock = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("Cargo.lock");
  println!("cargo:rerun-if-changed={}", lock.display());
  let lock = fs::read_to_string(lock).unwrap_or_default();
  let rustc = Command::new(env::var("RUSTC").unwrap()).arg("--version").output().unwrap().stdout;
  let rustc = String::from_utf8_lossy(&rustc).split(' ').take(2).collect::<Vec<_>>().join(" ");
  println!(
    "cargo:rustc-env=PEER_ABOUT=tokio {}, tokio-util {}, {}",
    version_of(&lock, "tokio"),
    version_of(&lock, "tokio-util"),
    rustc.trim()
  );
}
