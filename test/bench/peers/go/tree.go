// SPDX-License-Identifier: MIT
//
// The end of many contexts at once: the children of one parent, and a chain of them.
package main

import (
	"context"
	"runtime"
)

var treeImpls = []impl{
	{row: "children", name: "Go: WithCancel", setup: childrenSetup},
	{row: "children-1k", name: "Go: WithCancel", setup: childrenSetup},
	{row: "children-10k", name: "Go: WithCancel", setup: childrenSetup},
	{row: "children-100k", name: "Go: WithCancel", setup: childrenSetup},
	{row: "children-free", name: "Go: collected some time", setup: freeSetup},
	{row: "children-free", name: "Go: and a collection", setup: collectSetup},
	{row: "chain-*", name: "Go: WithCancel", setup: chainSetup},
}

type tree struct {
	root     owned
	children []owned
}

func newTree(size int) *tree { return &tree{root: newRoot(), children: make([]owned, size)} }

// One round: the children are made in order, then their parent is cancelled; only that is timed. after is what else is.
func (t *tree) round(s *sample, after func()) {
	parent, cancel := context.WithCancel(t.root.ctx)
	for i := range t.children {
		child, cancelChild := context.WithCancel(parent)
		t.children[i] = owned{child, cancelChild}
	}
	s.time(uint64(len(t.children)), cancel)
	t.children[0].mustBeCanceled()
	t.children[len(t.children)-1].mustBeCanceled()
	if after != nil {
		s.time(0, after) // the same operations
	}
}

// Every child's own cancel function is called, as its holder does, and nobody holds it any longer.
func (t *tree) letGo() {
	for i := range t.children {
		t.children[i].cancel()
		t.children[i] = owned{}
	}
}

func (t *tree) rounds(ops uint64, s *sample, after func()) {
	for done := 0; uint64(done) < ops; done += len(t.children) {
		t.round(s, after)
	}
}

func childrenSetup(size, _ int) runner {
	t := newTree(size)
	return func(ops uint64, s *sample) { t.rounds(ops, s, nil) }
}

// The children's memory is the collector's: it comes back some time later, while the next ones are made, which is not
// timed. So the figure is what the holders pay.
func freeSetup(size, _ int) runner {
	t := newTree(size)
	return func(ops uint64, s *sample) { t.rounds(ops, s, t.letGo) }
}

// The same with a collection, which is not over before their memory can be used again; nothing else is in the heap that
// it would have to look through.
func collectSetup(size, _ int) runner {
	t := newTree(size)
	return func(ops uint64, s *sample) {
		t.rounds(ops, s, func() {
			t.letGo()
			runtime.GC()
		})
	}
}

// A round's chains hold so many contexts together: for chains of 10 the clock would otherwise be a good part of it.
const roundContexts = 10000

type chain []owned

func (c chain) fill(root context.Context) {
	parent := root
	for i := range c {
		ctx, cancel := context.WithCancel(parent)
		c[i] = owned{ctx, cancel}
		parent = ctx
	}
}

// Chains of so many contexts, each the child of the one before. Timed: the first of each is cancelled, chain after
// chain, per context; not making them. A cancel calls itself for its children: long chains make the stack grow, and the
// collector makes it shrink again.
func chainSetup(size, _ int) runner {
	root := newRoot().ctx
	chains := make([]chain, (roundContexts+size-1)/size)
	for i := range chains {
		chains[i] = make(chain, size)
	}
	round := func(s *sample) {
		for _, c := range chains {
			c.fill(root)
		}
		s.time(uint64(len(chains)*size), func() {
			for _, c := range chains {
				c[0].cancel()
			}
		})
		for _, c := range chains {
			c[size-1].mustBeCanceled()
		}
	}
	return func(ops uint64, s *sample) {
		for done := 0; uint64(done) < ops; done += len(chains) * size {
			round(s)
		}
	}
}
