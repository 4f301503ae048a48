// SPDX-License-Identifier: MIT
//
// bounded prints the MD5 digest of every regular file below a directory, sorted by path, as md5sum does: one goroutine
// walks, a fixed number of them digest, each with a buffer of its own, and main collects. It is what md5all is compared
// with.
package main

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"
)

type result struct {
	path string
	sum  [md5.Size]byte
	err  error
}

// walk sends the paths of all regular files below root, until it is done or nobody listens any more.
func walk(ctx context.Context, root string, paths chan<- string) error {
	defer close(paths)
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		select {
		case paths <- path:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func digest(path string, h hash.Hash, buffer []byte) (r result) {
	r.path = path
	file, err := os.Open(path)
	if err != nil {
		r.err = err
		return r
	}
	defer file.Close()
	h.Reset()
	if _, r.err = io.CopyBuffer(h, file, buffer); r.err == nil {
		h.Sum(r.sum[:0])
	}
	return r
}

func digester(ctx context.Context, paths <-chan string, results chan<- result) {
	h := md5.New()
	buffer := make([]byte, 64<<10)
	for path := range paths {
		select {
		case results <- digest(path, h, buffer):
		case <-ctx.Done():
			return
		}
	}
}

func digestAll(root string, workers int) ([]result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	paths := make(chan string, 128)
	results := make(chan result, 128)
	walked := make(chan error, 1)
	go func() { walked <- walk(ctx, root, paths) }()

	var group sync.WaitGroup
	group.Add(workers)
	for i := 0; i < workers; i++ {
		go func() {
			defer group.Done()
			digester(ctx, paths, results)
		}()
	}
	go func() {
		group.Wait()
		close(results)
	}()

	var all []result
	for r := range results {
		if r.err != nil {
			return nil, r.err
		}
		all = append(all, r)
	}
	if err := <-walked; err != nil {
		return nil, err
	}
	sort.Slice(all, func(i, k int) bool { return all[i].path < all[k].path })
	return all, nil
}

func main() {
	workers := flag.Int("workers", runtime.NumCPU(), "files digested at once")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bounded [-workers N] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 || *workers < 1 {
		flag.Usage()
		os.Exit(2)
	}
	all, err := digestAll(flag.Arg(0), *workers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bounded:", err)
		os.Exit(1)
	}
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	var digits [2 * md5.Size]byte
	for i := range all {
		hex.Encode(digits[:], all[i].sum[:])
		out.Write(digits[:])
		out.WriteString("  ")
		out.WriteString(all[i].path)
		out.WriteByte('\n')
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "bounded:", err)
		os.Exit(1)
	}
}
