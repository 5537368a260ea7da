// Command images builds Plumbline's images, and, within the Dockerfile, what they are made of.
//
//	images build [NAME...]    the images, as archives in .build/images; see IMAGE_* in the Makefile
//	images rootfs DIR         CA certificates and folders
//	images engine DIR         the engine named by $ENGINE, or whichever can be had
//	images providers DIR      the provider mirror
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/plumbline-dev/plumbline/images"
	"github.com/plumbline-dev/plumbline/images/engine"
	"github.com/plumbline-dev/plumbline/images/mirror"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "build" {
		options := images.FromEnv()
		options.Names = args[1:]
		_, err := images.Build(ctx, say, options)
		return err
	}
	if len(args) != 2 {
		return errors.New("usage: images build [NAME...] | rootfs DIR | engine DIR | providers DIR")
	}
	switch verb, folder := args[0], args[1]; verb {
	case "rootfs":
		return images.Rootfs(folder)
	case "engine":
		return engine.Put(ctx, say, os.Getenv("ENGINE"), folder)
	case "providers":
		return mirror.Put(ctx, say, folder)
	default:
		return fmt.Errorf("unknown arguments %q: want build, rootfs, engine or providers", args)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
