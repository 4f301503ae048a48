// SPDX-License-Identifier: MIT
//
// The Go peer of uvf_bench: it takes a sample whenever uvf_bench asks for one. ../peer.h says which lines are spoken,
// and ../peer.c does the same for C; this file keeps to both. From this directory:
//
//	GO111MODULE=off go build -o DIR/go .
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -tags errgroup -o DIR/go .
//
// The second is for a system that has golang.org/x/sync (Debian: golang-golang-x-sync-dev), and has more
// implementations of the rows of groups.
//
// What holds for all rows: GOMAXPROCS, the collector and everything else are as a program finds them that sets nothing,
// unless the implementation's name says so. The collector runs when it runs, inside of what is timed or outside; the
// CPU time has its threads' share.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// What one sample has gathered.
type sample struct {
	ops    uint64
	amount uint64 // ns, or bytes
	cpu    uint64 // ns
}

// runner does about ops operations (whole rounds, at least one) and adds to the sample.
type runner func(ops uint64, s *sample)

type setup func(size, workers int) runner

type impl struct {
	row   string // one that ends with "*" stands for all that begin so
	name  string
	setup setup
}

// The whole program runs on one thread.
func oneThread(inner setup) setup {
	return func(size, workers int) runner {
		runtime.GOMAXPROCS(1)
		return inner(size, workers)
	}
}

func implementations() []impl {
	var all []impl
	all = append(all, contextImpls...)
	all = append(all, treeImpls...)
	all = append(all, chanImpls...)
	all = append(all, pipeImpls...)
	all = append(all, workImpls...)
	all = append(all, jobImpls...)
	all = append(all, groupImpls...)
	return append(all, errgroupImpls...)
}

func fail(what string) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", os.Args[0], what)
	os.Exit(1)
}

func must(what string, err error) {
	if err != nil {
		fail(what + ": " + err.Error())
	}
}

// --- time ------------------------------------------------------------------------------------------------------------

var epoch = time.Now()

// One reading of the clock, where time.Now takes two.
func now() uint64 { return uint64(time.Since(epoch)) }

// CPU time of the process so far, the collector's threads included.
func cpuTime() uint64 {
	var r syscall.Rusage
	must("getrusage", syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return uint64(r.Utime.Nano() + r.Stime.Nano())
}

// Adds what work takes, wall and CPU.
func (s *sample) time(ops uint64, work func()) {
	cpu := cpuTime()
	start := now()
	work()
	s.amount += now() - start
	s.cpu += cpuTime() - cpu
	s.ops += ops
}

// --- the work of an item ---------------------------------------------------------------------------------------------

// Each turn needs the one before.
func spin(number, turns uint64) uint64 {
	state := number
	for i := uint64(0); i < turns; i++ {
		state = (state ^ state>>29) * 6364136223846793005
	}
	if state == 0x5851f42d4c957f2d { // never so; the compiler does not know
		return 1
	}
	return number
}

var turnsPerMs uint64

// How many turns take so long, as --turns-per-ms has it.
func turnsFor(ns uint64) uint64 {
	if turnsPerMs == 0 {
		fail("this row wants --turns-per-ms")
	}
	return ns * turnsPerMs / 1000000
}

// --- samples ---------------------------------------------------------------------------------------------------------

type task struct {
	run    runner
	ops    uint64 // handed to one call of run: some fifth of a sample
	length uint64 // of a sample, ns
	once   bool
}

// Runs once more and returns how much longer the sample has become.
func (t *task) runMore(s *sample) uint64 {
	amount := s.amount
	t.run(t.ops, s)
	return s.amount - amount
}

func (t *task) warmUp() {
	var s sample
	var spent uint64
	for {
		took := t.runMore(&s)
		spent += took
		if took < t.length/5 {
			t.ops *= 2
		} else if spent >= t.length/3 {
			return
		}
	}
}

func (t *task) runFor(length uint64, s *sample) {
	for done := uint64(0); done < length; {
		done += t.runMore(s)
	}
}

func (t *task) takeSample() sample {
	var s, notCounted sample
	if t.once {
		t.runMore(&s)
		return s
	}
	t.runFor(t.length/2, &notCounted)
	t.runFor(t.length, &s)
	return s
}

func (t *task) serve() {
	if !t.once {
		t.warmUp()
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() != "sample" {
			fail(`a line that is not "sample"`)
		}
		s := t.takeSample()
		fmt.Println(s.ops, s.amount, s.cpu)
	}
}

// --- the command line ------------------------------------------------------------------------------------------------

const usage = `usage: %s --list | --about
       --row ROW --impl NAME [--size N] [--workers W] [--turns-per-ms N] [--sample-ns NS] [--once]
uvf_bench --peers DIRECTORY runs it; by hand, a line "sample" on its input gets a line
"<operations> <amount> <CPU ns>" on its output.
`

func rowMatches(pattern, row string) bool {
	if strings.HasSuffix(pattern, "*") {
		return strings.HasPrefix(row, strings.TrimSuffix(pattern, "*"))
	}
	return pattern == row
}

func find(row, name string) *impl {
	for _, i := range implementations() {
		if rowMatches(i.row, row) && i.name == name {
			return &i
		}
	}
	return nil
}

func main() {
	flags := flag.NewFlagSet(os.Args[0], flag.ContinueOnError)
	flags.Usage = func() {}
	list := flags.Bool("list", false, "")
	about := flags.Bool("about", false, "")
	row := flags.String("row", "", "")
	name := flags.String("impl", "", "")
	size := flags.Int("size", 0, "")
	workers := flags.Int("workers", 0, "")
	flags.Uint64Var(&turnsPerMs, "turns-per-ms", 0, "")
	length := flags.Uint64("sample-ns", 300000000, "")
	once := flags.Bool("once", false, "")

	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Printf(usage, os.Args[0])
		return
	case err != nil || flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, usage, os.Args[0])
		os.Exit(2)
	case *list:
		for _, i := range implementations() {
			fmt.Printf("%s\t%s\n", i.row, i.name)
		}
		return
	case *about:
		fmt.Printf("Go %s%s\n", strings.TrimPrefix(runtime.Version(), "go"), aboutErrgroup)
		return
	}
	i := find(*row, *name)
	if i == nil {
		fmt.Fprintf(os.Stderr, "%s: there is no %q for the row %q; --list names what there is\n", os.Args[0], *name, *row)
		os.Exit(2)
	}
	t := task{run: i.setup(*size, *workers), ops: 1, length: *length, once: *once}
	t.serve()
}
