// SPDX-License-Identifier: MIT

//go:build !errgroup

package main

const aboutErrgroup = ""

// Built without golang.org/x/sync.
var errgroupImpls []impl
