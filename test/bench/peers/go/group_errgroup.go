// SPDX-License-Identifier: MIT

//go:build errgroup

package main

import (
	"context"

	"golang.org/x/sync/errgroup"
)

const aboutErrgroup = ", errgroup"

var errgroupImpls = []impl{
	{row: "group-loop-100", name: "Go: errgroup", setup: groups(errgroupGo)},
	{row: "group-loop-100", name: "Go: errgroup, GOMAXPROCS(1)", setup: oneThread(groups(errgroupGo))},
	{row: "group-pool-100-w4", name: "Go: errgroup, SetLimit", setup: groups(errgroupLimit)},
	{row: "group-pool-100-w4", name: "Go: errgroup of workers, a chan", setup: groups(errgroupWorkers)},
}

// A goroutine for each task.
func errgroupGo(root context.Context, size, _ int) {
	g, ctx := errgroup.WithContext(root)
	for i := 0; i < size; i++ {
		g.Go(func() error { return empty(ctx) })
	}
	must("a group's error", g.Wait())
}

// The same, at most as many at once as there are workers.
func errgroupLimit(root context.Context, size, workers int) {
	g, ctx := errgroup.WithContext(root)
	g.SetLimit(workers)
	for i := 0; i < size; i++ {
		g.Go(func() error { return empty(ctx) })
	}
	must("a group's error", g.Wait())
}

// The group's goroutines are its workers, which take its tasks from a channel that all fit into.
func errgroupWorkers(root context.Context, size, workers int) {
	g, ctx := errgroup.WithContext(root)
	tasks := make(chan func(context.Context) error, size)
	for i := 0; i < workers; i++ {
		g.Go(func() error {
			for task := range tasks {
				if err := task(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := 0; i < size; i++ {
		tasks <- empty
	}
	close(tasks)
	must("a group's error", g.Wait())
}
