// SPDX-License-Identifier: MIT
//
// Pipelines whose items cost next to nothing: a goroutine for each stage, bounded channels of 128 between them. Items
// are odd numbers; what arrives is added up, and compared with what a plain loop gives.
package main

import (
	"context"
	"sync"
)

const pipeCapacity = 128

var pipeImpls = []impl{
	{row: "pipe-squares", name: "Go: chan", setup: squares(plainSquares)},
	{row: "pipe-squares", name: "Go: chan, GOMAXPROCS(1)", setup: oneThread(squares(plainSquares))},
	{row: "pipe-squares", name: "Go: select with ctx.Done()", setup: squares(selectSquares)},
	{row: "pipe-squares-blocks", name: "Go: chan of arrays", setup: squares(arraySquares)},
	{row: "pipe-squares-apart", name: "Go: chan", setup: squares(plainSquares)},
	{row: "pipe-squares-apart", name: "Go: select with ctx.Done()", setup: squares(selectSquares)},
	{row: "pipe-stages-*", name: "Go: chan", setup: squares(plainSquares)},
	{row: "pipe-stages-*", name: "Go: chan, GOMAXPROCS(1)", setup: oneThread(squares(plainSquares))},
}

// A pipeline with so many stages that square: it carries n items and returns what they add up to.
type squarer func(ctx context.Context, stages int, n uint64) uint64

// Timed: from the start of a run's goroutines to its end, per item.
func squares(run squarer) setup {
	return func(stages, _ int) runner {
		root := newRoot().ctx
		return func(ops uint64, s *sample) {
			var sum uint64
			s.time(ops, func() { sum = run(root, stages, ops) })
			if sum != squaresExpected(stages, ops) {
				fail("the pipeline's sum is wrong")
			}
		}
	}
}

func squaresExpected(stages int, n uint64) uint64 {
	var sum uint64
	for i := uint64(0); i < n; i++ {
		number := 2*i + 1
		for k := 0; k < stages; k++ {
			number *= number
		}
		sum += number
	}
	return sum
}

// --- item by item ----------------------------------------------------------------------------------------------------

func generate(n uint64) <-chan uint64 {
	out := make(chan uint64, pipeCapacity)
	go func() {
		defer close(out)
		for i := uint64(0); i < n; i++ {
			out <- 2*i + 1
		}
	}()
	return out
}

func square(in <-chan uint64) <-chan uint64 {
	out := make(chan uint64, pipeCapacity)
	go func() {
		defer close(out)
		for number := range in {
			out <- number * number
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

// The pipeline as it is mostly written. It cannot be cancelled.
func plainSquares(_ context.Context, stages int, n uint64) uint64 {
	numbers := generate(n)
	for i := 0; i < stages; i++ {
		numbers = square(numbers)
	}
	return add(numbers)
}

// --- under a context -------------------------------------------------------------------------------------------------

func generateUnder(ctx context.Context, n uint64) <-chan uint64 {
	out := make(chan uint64, pipeCapacity)
	go func() {
		defer close(out)
		done := ctx.Done()
		for i := uint64(0); i < n; i++ {
			select {
			case out <- 2*i + 1:
			case <-done:
				return
			}
		}
	}()
	return out
}

func squareUnder(ctx context.Context, in <-chan uint64) <-chan uint64 {
	out := make(chan uint64, pipeCapacity)
	go func() {
		defer close(out)
		done := ctx.Done()
		for number := range in {
			select {
			case out <- number * number:
			case <-done:
				return
			}
		}
	}()
	return out
}

// The same for pipelines that must be able to end early, as ours are: every send ends with the context. Receives end
// because the stage before closes its channel.
func selectSquares(root context.Context, stages int, n uint64) uint64 {
	ctx, cancel := context.WithCancel(root)
	defer cancel()
	numbers := generateUnder(ctx, n)
	for i := 0; i < stages; i++ {
		numbers = squareUnder(ctx, numbers)
	}
	return add(numbers)
}

// --- 64 at once ------------------------------------------------------------------------------------------------------

var pipeArrays = sync.Pool{New: func() any { return new(array) }}

func generateArrays(n uint64) <-chan *array {
	out := make(chan *array, pipeCapacity)
	go func() {
		defer close(out)
		for i := uint64(0); i < n; {
			a := pipeArrays.Get().(*array)
			for a.n = 0; a.n < chanBatch && i < n; a.n++ {
				a.items[a.n] = 2*i + 1
				i++
			}
			out <- a
		}
	}()
	return out
}

func squareArrays(in <-chan *array) <-chan *array {
	out := make(chan *array, pipeCapacity)
	go func() {
		defer close(out)
		for a := range in {
			for i, number := range a.items[:a.n] {
				a.items[i] = number * number
			}
			out <- a
		}
	}()
	return out
}

// Whoever has cheap items puts them into arrays; here the user's own code loops over them, and the stages square them
// where they are. No item leaves the source before 64 are there or the end has come: only for items that can wait.
func arraySquares(_ context.Context, stages int, n uint64) uint64 {
	numbers := generateArrays(n)
	for i := 0; i < stages; i++ {
		numbers = squareArrays(numbers)
	}
	var sum uint64
	for a := range numbers {
		for _, number := range a.items[:a.n] {
			sum += number
		}
		pipeArrays.Put(a)
	}
	return sum
}
