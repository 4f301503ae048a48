// SPDX-License-Identifier: MIT
//
// Items from goroutine to goroutine. An item is a number: whose it is, and which of its sender's; the receiver checks
// that each sender's items come one by one and in order.
//
// Nobody pins goroutines to threads: the scheduler runs both ends on one thread as long as that is faster, which it
// mostly is, and the CPU time shows it.
package main

import (
	"context"
	"sync"
)

const (
	chanCapacity = 128
	chanBatch    = 64
	maxSenders   = 8
)

var chanImpls = []impl{
	{row: "chan-loop", name: "Go: chan, GOMAXPROCS(1)", setup: oneThread(oneSender(sendPlain))},
	{row: "chan-loop", name: "Go: select, GOMAXPROCS(1)", setup: oneThread(oneSender(sendSelect))},
	{row: "chan-thread-loop", name: "Go: chan", setup: oneSender(sendPlain)},
	{row: "chan-thread-loop", name: "Go: select with ctx.Done()", setup: oneSender(sendSelect)},
	{row: "chan-threads", name: "Go: chan", setup: oneSender(sendPlain)},
	{row: "chan-threads", name: "Go: select with ctx.Done()", setup: oneSender(sendSelect)},
	{row: "chan-3-loop", name: "Go: chan", setup: someSenders(sendPlain)},
	{row: "chan-3-loop", name: "Go: select with ctx.Done()", setup: someSenders(sendSelect)},
	{row: "chan-producers-*", name: "Go: chan", setup: someSenders(sendPlain)},
	{row: "chan-producers-*", name: "Go: select with ctx.Done()", setup: someSenders(sendSelect)},
	{row: "chan-thread-blocks", name: "Go: chan of arrays", setup: arraysSetup},
}

// --- item by item ----------------------------------------------------------------------------------------------------

// What senders send, and the checks where they end.
type flow struct {
	ctx  context.Context
	seen [maxSenders]uint64
}

func (f *flow) got(item uint64) {
	sender := item % maxSenders
	if item/maxSenders != f.seen[sender] {
		fail("an item is lost or overtaken")
	}
	f.seen[sender]++
}

// sender sends n items from number on, of the sender id.
type sender func(ctx context.Context, items chan<- uint64, id, number, n uint64)

// A plain send: it cannot be cancelled.
func sendPlain(_ context.Context, items chan<- uint64, id, number, n uint64) {
	for end := number + n; number < end; number++ {
		items <- number*maxSenders + id
	}
}

// A send that ends with the context, as ours does.
func sendSelect(ctx context.Context, items chan<- uint64, id, number, n uint64) {
	done := ctx.Done()
	for end := number + n; number < end; number++ {
		select {
		case items <- number*maxSenders + id:
		case <-done:
			fail("the context is over")
		}
	}
}

// Senders wait until they are told to begin; this goroutine receives. Timed: from telling them until the last item is
// here.
func newFlow(senders int, capacity int, send sender) runner {
	f := &flow{ctx: newRoot().ctx}
	items := make(chan uint64, capacity)
	begin := make([]chan uint64, senders)
	for i := range begin {
		begin[i] = make(chan uint64, 1)
		go func(id uint64) {
			var number uint64
			for n := range begin[id] {
				send(f.ctx, items, id, number, n)
				number += n
			}
		}(uint64(i))
	}
	return func(ops uint64, s *sample) {
		each := (ops + uint64(senders) - 1) / uint64(senders)
		all := each * uint64(senders)
		s.time(all, func() {
			for _, b := range begin {
				b <- each
			}
			for n := all; n > 0; n-- {
				f.got(<-items)
			}
		})
	}
}

func oneSender(send sender) setup {
	return func(size, _ int) runner { return newFlow(1, size, send) }
}

func someSenders(send sender) setup {
	return func(size, _ int) runner {
		if size < 1 || size > maxSenders {
			fail("the row's size is the number of senders, 1 to 8")
		}
		return newFlow(size, chanCapacity, send)
	}
}

// --- 64 at a time ----------------------------------------------------------------------------------------------------

type array struct {
	n     int
	items [chanBatch]uint64
}

// The sender fills an array and sends it as a whole, which is one hop for 64 items; the receiver checks each item and
// puts the array back into a pool. The size is how many arrays the channel has room for.
func arraysSetup(size, _ int) runner {
	f := &flow{ctx: newRoot().ctx}
	pool := &sync.Pool{New: func() any { return new(array) }}
	full := make(chan *array, size)
	begin := make(chan uint64, 1)
	go func() {
		var number uint64
		for n := range begin {
			sendArrays(full, pool, number, n)
			number += n
		}
	}()
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			begin <- ops
			for n := ops; n > 0; {
				a := <-full
				for _, item := range a.items[:a.n] {
					f.got(item)
				}
				n -= uint64(a.n)
				pool.Put(a)
			}
		})
	}
}

func sendArrays(full chan<- *array, pool *sync.Pool, number, n uint64) {
	for end := number + n; number < end; {
		a := pool.Get().(*array)
		for a.n = 0; a.n < chanBatch && number < end; a.n++ {
			a.items[a.n] = number * maxSenders
			number++
		}
		full <- a
	}
}
