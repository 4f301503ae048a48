// SPDX-License-Identifier: MIT
//
// Groups: so many empty tasks are started and waited for; the first error would end the group's context. Timed is all
// of that, group by group.
package main

import (
	"context"
	"sync"
)

var groupImpls = []impl{
	{row: "group-loop-100", name: "Go: WaitGroup", setup: groups(groupGo)},
	{row: "group-loop-100", name: "Go: WaitGroup, GOMAXPROCS(1)", setup: oneThread(groups(groupGo))},
	{row: "group-pool-100-w4", name: "Go: WaitGroup, a pool of goroutines", setup: groupPoolSetup},
}

// What a task is: it may look at the group's context.
func empty(_ context.Context) error { return nil }

// One group from its making to its end.
type round func(root context.Context, size, workers int)

func groups(one round) setup {
	return func(size, workers int) runner {
		root := newRoot().ctx
		return func(ops uint64, s *sample) {
			s.time(ops, func() {
				for i := uint64(0); i < ops; i++ {
					one(root, size, workers)
				}
			})
		}
	}
}

// By hand: a goroutine for each task.
type group struct {
	sync.WaitGroup
	once   sync.Once
	cancel context.CancelFunc
	err    error
}

func (g *group) do(ctx context.Context, task func(context.Context) error) {
	defer g.Done()
	if err := task(ctx); err != nil {
		g.once.Do(func() {
			g.err = err
			g.cancel()
		})
	}
}

func groupGo(root context.Context, size, _ int) {
	ctx, cancel := context.WithCancel(root)
	g := &group{cancel: cancel}
	g.Add(size)
	for i := 0; i < size; i++ {
		go g.do(ctx, empty)
	}
	g.Wait()
	cancel()
	must("a group's error", g.err)
}

// As many goroutines as there are workers live as long as the program, and take tasks of all groups from one channel.
func groupPoolSetup(size, workers int) runner {
	type task struct {
		ctx context.Context
		g   *group
		fn  func(context.Context) error
	}
	waiting := make(chan task, size)
	for i := 0; i < workers; i++ {
		go func() {
			for t := range waiting {
				t.g.do(t.ctx, t.fn)
			}
		}()
	}
	return groups(func(root context.Context, size, _ int) {
		ctx, cancel := context.WithCancel(root)
		g := &group{cancel: cancel}
		g.Add(size)
		for i := 0; i < size; i++ {
			waiting <- task{ctx, g, empty}
		}
		g.Wait()
		cancel()
		must("a group's error", g.err)
	})(size, workers)
}
