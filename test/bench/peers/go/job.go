// SPDX-License-Identifier: MIT
//
// Jobs: so many are in flight; this goroutine starts each again as soon as it hears that it is done. At most as many
// run at once as the row has workers. Timed: from the first start to the last done, per job. No job can be cancelled,
// and nobody forces workers and this goroutine onto different threads: with empty jobs the scheduler mostly does not.
package main

import "runtime"

var jobImpls = []impl{
	{row: "job-64-w1", name: "Go: a pool of goroutines", setup: jobs(nothing, startPool)},
	{row: "job-64-w1", name: "Go: a goroutine a job, GOMAXPROCS(1)", setup: jobs(nothing, startEach)},
	{row: "job-64-w4", name: "Go: a pool of goroutines", setup: jobs(nothing, startPool)},
	{row: "job-64-w4", name: "Go: a goroutine a job, GOMAXPROCS(4)", setup: jobs(nothing, startEach)},
	{row: "job-1us-w4", name: "Go: a pool of goroutines", setup: jobs(spin1us, startPool)},
	{row: "job-1us-w4", name: "Go: a goroutine a job, GOMAXPROCS(4)", setup: jobs(spin1us, startEach)},
}

// Each on lines of its own: no worker's writes shall slow another down.
type job struct {
	fn  func(*job) error
	err error
	_   [112]byte
}

func nothing(_ *job) error { return nil }

// Spins on the clock.
func spin1us(_ *job) error {
	for from := now(); now()-from < 1000; {
	}
	return nil
}

// starter returns what starts a job; the job is sent to done when it is over.
type starter func(inFlight, workers int, done chan<- *job) func(*job)

// As many goroutines as there are workers take jobs from a channel that all fit into.
func startPool(inFlight, workers int, done chan<- *job) func(*job) {
	waiting := make(chan *job, inFlight)
	for i := 0; i < workers; i++ {
		go func() {
			for j := range waiting {
				j.err = j.fn(j)
				done <- j
			}
		}()
	}
	return func(j *job) { waiting <- j }
}

// A goroutine for each job. What keeps them to as many at once as there are workers is GOMAXPROCS, which this goroutine
// has its share of; a channel as a semaphore was tried, and is slower.
func startEach(_, workers int, done chan<- *job) func(*job) {
	runtime.GOMAXPROCS(workers)
	one := func(j *job) {
		j.err = j.fn(j)
		done <- j
	}
	return func(j *job) { go one(j) }
}

func jobs(fn func(*job) error, by starter) setup {
	return func(size, workers int) runner {
		done := make(chan *job, size)
		start := by(size, workers, done)
		all := make([]job, size)
		for i := range all {
			all[i].fn = fn
		}
		return func(ops uint64, s *sample) {
			s.time(ops, func() {
				var started uint64
				for ; started < ops && started < uint64(size); started++ {
					start(&all[started])
				}
				for over := uint64(0); over < ops; over++ {
					j := <-done
					must("a job's error", j.err)
					if started < ops {
						started++
						start(j)
					}
				}
			})
		}
	}
}
