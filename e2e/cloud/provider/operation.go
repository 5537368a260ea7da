package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
)

// operation is one thing that Terraform asked for, with the faults that the cloud has for it.
type operation struct {
	ctx    context.Context
	api    client
	name   string
	orders orders
	diags  *diag.Diagnostics
}

func (c client) operation(ctx context.Context, name string, diags *diag.Diagnostics) *operation {
	return &operation{ctx: ctx, api: c, name: name, diags: diags}
}

// begin meets the faults that come before the work, and tells whether to go on.
func (o *operation) begin() bool {
	var err error
	if o.orders, err = o.api.begin(o.ctx, o.name); err != nil {
		o.diags.AddError("The cloud could not be reached", err.Error())
		return false
	}
	printMiB(o.orders.PrintMiB)
	o.warn(o.orders.WarnMiB)
	eat(o.orders.EatMiB)
	return !o.failed(o.orders.Fail)
}

// end meets the fault that comes after the work.
func (o *operation) end() { o.failed(o.orders.FailAfter) }

func (o *operation) failed(message string) bool {
	if message == "" {
		return false
	}
	o.diags.AddError("The cloud refused to "+o.name, message)
	return true
}

// filler is a line of 128 characters.
var filler = strings.Repeat("plumbline ", 12) + "12345678"

func printMiB(n int) {
	w := bufio.NewWriter(os.Stderr)
	defer func() { _ = w.Flush() }()
	for i := range n << 13 {
		_, _ = fmt.Fprintf(w, "%d %s\n", i, filler)
	}
}

// warn makes warnings of 64 KiB, each with lines of 128 characters.
func (o *operation) warn(n int) {
	detail := strings.Repeat(filler+"\n", 1<<9)
	for i := range n << 4 {
		o.diags.AddWarning(fmt.Sprintf("Warning %d", i), detail)
	}
}

// eat keeps memory that was really written to, so that it counts.
func eat(n int) {
	var eaten [][]byte
	for range n {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i)
		}
		eaten = append(eaten, block)
	}
	runtime.KeepAlive(eaten)
}
