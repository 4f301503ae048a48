// SPDX-License-Identifier: MIT
//
// Contexts made, ended and asked one at a time. Their parent is a cancellable context, as a server's root is.
package main

import (
	"context"
	"runtime"
	"time"
)

var contextImpls = []impl{
	{row: "timeout", name: "Go: WithTimeout", setup: timeoutSetup},
	{row: "cancel", name: "Go: WithCancel", setup: cancelSetup},
	{row: "rotate-*", name: "Go: WithTimeout", setup: rotateSetup},
	{row: "random-1m", name: "Go: WithTimeout", setup: randomSetup},
	{row: "bytes", name: "Go: WithTimeout", setup: bytesSetup},
	{row: "err", name: "Go: Err", setup: errSetup},
	{row: "err", name: "Go: select on Done()", setup: selectSetup},
	{row: "err", name: "Go: select, Done() asked once", setup: selectKeptSetup},
	{row: "value-1", name: "Go: Value", setup: lookups(nil)},
	{row: "value-100", name: "Go: Value, keys of one type", setup: lookups(sameTypeKey)},
	{row: "value-100", name: "Go: Value, keys of many types", setup: lookups(otherTypeKey)},
}

// A context and what ends it: its owner keeps both.
type owned struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func newRoot() owned {
	ctx, cancel := context.WithCancel(context.Background())
	return owned{ctx, cancel}
}

func (o owned) mustBeCanceled() {
	if o.ctx.Err() != context.Canceled {
		fail("the cancel did not reach every context")
	}
}

// --- one, alone ------------------------------------------------------------------------------------------------------

// A context with a timer of an hour is made and cancelled: that stops its timer and takes it from its parent. There is
// no release, the collector finds it.
func timeoutSetup(_, _ int) runner {
	root := newRoot().ctx
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				_, cancel := context.WithTimeout(root, time.Hour)
				cancel()
			}
		})
	}
}

// The same without a timer.
func cancelSetup(_, _ int) runner {
	root := newRoot().ctx
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				_, cancel := context.WithCancel(root)
				cancel()
			}
		})
	}
}

// --- among many ------------------------------------------------------------------------------------------------------

type ring struct {
	root  owned
	slots []owned
	at    int
	seed  uint64
}

func (r *ring) fill(i int) {
	ctx, cancel := context.WithTimeout(r.root.ctx, time.Hour)
	r.slots[i] = owned{ctx, cancel}
}

func newRing(size int) *ring {
	r := &ring{root: newRoot(), slots: make([]owned, size), seed: 0x9e3779b97f4a7c15}
	for i := range r.slots {
		r.fill(i)
	}
	return r
}

// The oldest of as many outstanding timeouts is cancelled and a new one put in its place.
func rotateSetup(size, _ int) runner {
	r := newRing(size)
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				r.slots[r.at].cancel()
				r.fill(r.at)
				if r.at++; r.at == len(r.slots) {
					r.at = 0
				}
			}
		})
	}
}

// The same with one that a xorshift picks.
func randomSetup(size, _ int) runner {
	r := newRing(size)
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				r.seed ^= r.seed << 13
				r.seed ^= r.seed >> 7
				r.seed ^= r.seed << 17
				at := r.seed % uint64(len(r.slots))
				r.slots[at].cancel()
				r.fill(int(at))
			}
		})
	}
}

// What the heap and the stacks hold more after a collection when so many timeouts are outstanding: contexts, timers,
// the runtime's list of timers and the parent's map of children, in the sizes that the allocator rounds to. The slice
// of contexts and cancel functions is the user's, and not counted.
func bytesSetup(size, _ int) runner {
	return func(_ uint64, s *sample) {
		r := &ring{root: newRoot(), slots: make([]owned, size)}
		before := inUse()
		for i := range r.slots {
			r.fill(i)
		}
		s.amount += inUse() - before
		s.ops += uint64(size)
		r.root.cancel()
		r.slots[size-1].mustBeCanceled()
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what was freed only while the first one ran
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// --- asking ----------------------------------------------------------------------------------------------------------

// The call, through the interface, on one live context.
func errSetup(_, _ int) runner {
	ctx := newRoot().ctx
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				if ctx.Err() != nil {
					fail("the context is over")
				}
			}
		})
	}
}

// How a loop mostly asks whether to go on: it does not wait, and takes no lock; why the context is over it would ask
// Err.
func selectSetup(_, _ int) runner {
	ctx := newRoot().ctx
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			for i := uint64(0); i < ops; i++ {
				select {
				case <-ctx.Done():
					fail("the context is over")
				default:
				}
			}
		})
	}
}

// The same in a loop that has kept the channel in a variable.
func selectKeptSetup(_, _ int) runner {
	ctx := newRoot().ctx
	return func(ops uint64, s *sample) {
		s.time(ops, func() {
			done := ctx.Done()
			for i := uint64(0); i < ops; i++ {
				select {
				case <-done:
					fail("the context is over")
				default:
				}
			}
		})
	}
}

// --- values ----------------------------------------------------------------------------------------------------------

// Keys are pointers, which are compared without a look at what they point to.
type key struct{ name string }

// The key of another package. It is told from the wanted one by its type alone, so it makes no difference whether the
// 99 others have one type or 99.
type otherKey struct{ name string }

func sameTypeKey() any { return &key{"other"} }

func otherTypeKey() any { return &otherKey{"other"} }

// What the farthest value points to: where the next lookup begins.
type origin struct{ leaf context.Context }

// A chain of so many contexts: the one next to the root has the value that is looked up, the others a value under the
// key that newKey gives, or none. Each lookup begins where the one before said: they cannot overlap.
func lookups(newKey func() any) setup {
	return func(size, _ int) runner {
		wanted := &key{"wanted"}
		from := &origin{}
		leaf := context.WithValue(newRoot().ctx, wanted, from)
		var cancels []context.CancelFunc
		for i := 1; i < size; i++ {
			if newKey != nil {
				leaf = context.WithValue(leaf, newKey(), from)
			} else {
				ctx, cancel := context.WithCancel(leaf)
				cancels = append(cancels, cancel)
				leaf = ctx
			}
		}
		from.leaf = leaf
		return func(ops uint64, s *sample) {
			s.time(ops, func() {
				at := leaf
				for i := uint64(0); i < ops; i++ {
					at = at.Value(wanted).(*origin).leaf
				}
			})
			runtime.KeepAlive(cancels)
		}
	}
}
