// SPDX-License-Identifier: MIT
//
// Pipelines whose items cost a microsecond or ten: a goroutine that makes numbers, as many workers as the row says,
// which spin for each of them, and this goroutine, which adds up. Channels hold 128 items. The spin reads no clock:
// so many turns.
package main

import (
	"context"
	"sync"
)

const workBatch = 16

var workImpls = []impl{
	{row: "pipe-work-1us", name: "Go: chan", setup: works(plainWork)},
	{row: "pipe-work-1us", name: "Go: select with ctx.Done()", setup: works(selectWork)},
	{row: "pipe-work-1us", name: "floor: Go, 16 at once by hand", setup: works(arrayWork)},
	{row: "pipe-work-10us", name: "Go: chan", setup: works(plainWork)},
	{row: "pipe-work-10us", name: "Go: select with ctx.Done()", setup: works(selectWork)},
	{row: "pipe-work-10us", name: "floor: Go, 16 at once by hand", setup: works(arrayWork)},
	{row: "pipe-workers-*", name: "Go: chan", setup: works(plainWork)},
	{row: "pipe-workers-*", name: "floor: Go, 16 at once by hand", setup: works(arrayWork)},
	{row: "pipe-ordered-1us", name: "Go: a chan for each result", setup: works(orderedWork)},
}

type load struct {
	root    context.Context
	turns   uint64
	workers int
}

// Timed: from the start of a run's goroutines to its end, per item. The first n odd numbers add up to n*n.
func works(run func(l *load, n uint64) uint64) setup {
	return func(size, workers int) runner {
		l := &load{newRoot().ctx, turnsFor(uint64(size)), workers}
		return func(ops uint64, s *sample) {
			var sum uint64
			s.time(ops, func() { sum = run(l, ops) })
			if sum != ops*ops {
				fail("the pipeline's sum is wrong")
			}
		}
	}
}

// Starts the workers and, when the last of them is through, does what is to be done then.
func (l *load) start(worker, atEnd func()) {
	var group sync.WaitGroup
	group.Add(l.workers)
	for i := 0; i < l.workers; i++ {
		go func() {
			defer group.Done()
			worker()
		}()
	}
	go func() {
		group.Wait()
		atEnd()
	}()
}

// As it is mostly written. It cannot be cancelled.
func plainWork(l *load, n uint64) uint64 {
	in := generate(n)
	out := make(chan uint64, pipeCapacity)
	l.start(func() {
		for number := range in {
			out <- spin(number, l.turns)
		}
	}, func() { close(out) })
	return add(out)
}

// The same for a pipeline that must be able to end early, as ours are: every send ends with the context.
func selectWork(l *load, n uint64) uint64 {
	ctx, cancel := context.WithCancel(l.root)
	defer cancel()
	in := generateUnder(ctx, n)
	out := make(chan uint64, pipeCapacity)
	l.start(func() {
		done := ctx.Done()
		for number := range in {
			select {
			case out <- spin(number, l.turns):
			case <-done:
				return
			}
		}
	}, func() { close(out) })
	return add(out)
}

type workArray struct {
	n     int
	items [workBatch]uint64
}

var workArrays = sync.Pool{New: func() any { return new(workArray) }}

// Whoever has cheap items hands them over in arrays; a worker takes 16 at once, and passes them on together.
func arrayWork(l *load, n uint64) uint64 {
	in := make(chan *workArray, pipeCapacity/workBatch)
	out := make(chan *workArray, pipeCapacity/workBatch)
	go func() {
		defer close(in)
		for i := uint64(0); i < n; {
			a := workArrays.Get().(*workArray)
			for a.n = 0; a.n < workBatch && i < n; a.n++ {
				a.items[a.n] = 2*i + 1
				i++
			}
			in <- a
		}
	}()
	l.start(func() {
		for a := range in {
			for i, number := range a.items[:a.n] {
				a.items[i] = spin(number, l.turns)
			}
			out <- a
		}
	}, func() { close(out) })
	var sum uint64
	for a := range out {
		for _, number := range a.items[:a.n] {
			sum += number
		}
		workArrays.Put(a)
	}
	return sum
}

// What a program writes that wants its results in order: each item brings a channel for its result, and the channels
// wait in line.
func orderedWork(l *load, n uint64) uint64 {
	type job struct {
		number uint64
		result chan uint64
	}
	pool := sync.Pool{New: func() any { return make(chan uint64, 1) }}
	jobs := make(chan job, pipeCapacity)
	line := make(chan chan uint64, pipeCapacity)
	go func() {
		defer close(jobs)
		defer close(line)
		for i := uint64(0); i < n; i++ {
			result := pool.Get().(chan uint64)
			line <- result
			jobs <- job{2*i + 1, result}
		}
	}()
	for i := 0; i < l.workers; i++ {
		go func() {
			for j := range jobs {
				j.result <- spin(j.number, l.turns)
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
