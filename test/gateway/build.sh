# SPDX-License-Identifier: MIT
# Sourced by the scripts beside it, which have `root`, `build` (empty: build/gateway, which is made) and die().

# build TARGET...: brings these up to date.
build() {
  if [ -z "$build" ]; then
    build=$root/build/gateway
    mkdir -p "$build" || exit 2
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DUVF_BUILD_BENCH=OFF >"$build/build.log" 2>&1 ||
      die "cmake failed: see $build/build.log"
  fi
  cmake --build "$build" --target "$@" >"$build/gateway.log" 2>&1 ||
    die "it was not built (libh2o and libcurl are needed): see $build/gateway.log"
}
