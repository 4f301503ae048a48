// SPDX-License-Identifier: MIT
//
// The rows pipe-squares, pipe-work-1us, pipe-work-10us and pipe-ordered-1us of uvf_bench, as they are written in Go: a
// goroutine for each stage or worker, channels of 128 between them. Prints ns per item: the median of eleven runs of each,
// the smallest and the largest. To be compared with uvf_bench on the same machine, on the same day:
//
//	go run pipe.go
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	capacity = 128
	rounds   = 11
	least    = 300 * time.Millisecond
)

// --- items -----------------------------------------------------------------------------------------------------------

var sink uint64

// Each turn needs the one before.
func spin(number, turns uint64) uint64 {
	state := number
	for i := uint64(0); i < turns; i++ {
		state = state*6364136223846793005 + 1442695040888963407
	}
	if state == 0x5851f42d4c957f2d {
		return 1
	}
	return number
}

// How many turns take so long: the fastest of several rounds, the others were interrupted.
func turnsFor(d time.Duration) uint64 {
	const turns = 200000
	best := time.Duration(1 << 62)
	for i := 0; i < 20; i++ {
		start := time.Now()
		sink += spin(sink|1, turns)
		if took := time.Since(start); took < best {
			best = took
		}
	}
	return uint64(d) * turns / uint64(best)
}

func generate(n uint64) <-chan uint64 {
	out := make(chan uint64, capacity)
	go func() {
		defer close(out)
		for i := uint64(0); i < n; i++ {
			out <- 2*i + 1
		}
	}()
	return out
}

func add(in <-chan uint64) uint64 {
	var sum uint64
	for number := range in {
		sum += number
	}
	return sum
}

// --- squares ---------------------------------------------------------------------------------------------------------

func square(in <-chan uint64) <-chan uint64 {
	out := make(chan uint64, capacity)
	go func() {
		defer close(out)
		for number := range in {
			out <- number * number
		}
	}()
	return out
}

func squares(n uint64) uint64 { return add(square(square(generate(n)))) }

// --- work ------------------------------------------------------------------------------------------------------------

func work(turns uint64, workers int) func(uint64) uint64 {
	return func(n uint64) uint64 {
		in := generate(n)
		out := make(chan uint64, capacity)
		var group sync.WaitGroup
		group.Add(workers)
		for i := 0; i < workers; i++ {
			go func() {
				defer group.Done()
				for number := range in {
					out <- spin(number, turns)
				}
			}()
		}
		go func() {
			group.Wait()
			close(out)
		}()
		return add(out)
	}
}

// What a program writes that wants its results in order: each item brings a channel for its result, and the channels wait
// in line.
func ordered(turns uint64, workers int) func(uint64) uint64 {
	type job struct {
		number uint64
		result chan uint64
	}
	pool := sync.Pool{New: func() any { return make(chan uint64, 1) }}
	return func(n uint64) uint64 {
		jobs := make(chan job, capacity)
		line := make(chan chan uint64, capacity)
		go func() {
			defer close(jobs)
			defer close(line)
			for number := range generate(n) {
				result := pool.Get().(chan uint64)
				line <- result
				jobs <- job{number, result}
			}
		}()
		for i := 0; i < workers; i++ {
			go func() {
				for j := range jobs {
					j.result <- spin(j.number, turns)
				}
			}()
		}
		var sum uint64
		for result := range line {
			sum += <-result
			pool.Put(result)
		}
		return sum
	}
}

// The floor: nothing is passed on.
func counter(turns uint64, workers int) func(uint64) uint64 {
	return func(n uint64) uint64 {
		var next, sum uint64
		var group sync.WaitGroup
		group.Add(workers)
		for i := 0; i < workers; i++ {
			go func() {
				defer group.Done()
				var mine uint64
				for {
					i := atomic.AddUint64(&next, 1) - 1
					if i >= n {
						break
					}
					mine += spin(2*i+1, turns)
				}
				atomic.AddUint64(&sum, mine)
			}()
		}
		group.Wait()
		return sum
	}
}

// --- measuring -------------------------------------------------------------------------------------------------------

func measure(name string, times int, fn func(uint64) uint64) {
	n := uint64(1000)
	var figures []float64
	for len(figures) < rounds {
		start := time.Now()
		sum := fn(n)
		took := time.Since(start)
		want := n * n // of the first odd numbers
		if times > 1 {
			want = 0
			for i := uint64(0); i < n; i++ {
				number := 2*i + 1
				want += number * number * number * number
			}
		}
		if sum != want {
			fmt.Fprintf(os.Stderr, "%s: the sum is wrong\n", name)
			os.Exit(1)
		}
		if took < least {
			n = n * 2
			continue
		}
		figures = append(figures, float64(took.Nanoseconds())/float64(n))
	}
	sort.Float64s(figures)
	fmt.Printf("%-36s %9.1f  %.1f - %.1f\n", name, figures[rounds/2], figures[0], figures[rounds-1])
}

func main() {
	workers := runtime.GOMAXPROCS(0)
	us, us10 := turnsFor(time.Microsecond), turnsFor(10*time.Microsecond)
	fmt.Printf("%s, %d processors; ns per item: median, min - max of %d\n", runtime.Version(), workers, rounds)
	measure("pipe-squares", 4, squares)
	measure("pipe-work-1us", 1, work(us, workers))
	measure("pipe-work-1us, floor: a counter", 1, counter(us, workers))
	measure("pipe-ordered-1us", 1, ordered(us, workers))
	measure("pipe-work-10us", 1, work(us10, workers))
	measure("pipe-work-10us, floor: a counter", 1, counter(us10, workers))
}
