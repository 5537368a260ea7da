// Command tools builds pinned third-party programs and says where they are.
//
//	tools build NAME...           builds what is missing
//	tools path NAME [BINARY]      the same, and prints the path and nothing else on standard output
//	tools list
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: tools build NAME... | path NAME [BINARY] | list")
	}
	switch verb, rest := args[0], args[1:]; {
	case verb == "list":
		fmt.Println(strings.Join(tools.Names(), "\n"))
		return nil
	case verb == "build" && len(rest) > 0:
		_, err := tools.Build(ctx, say, rest...)
		return err
	case verb == "path" && (len(rest) == 1 || len(rest) == 2):
		return printPath(ctx, rest)
	default:
		return fmt.Errorf("unknown arguments %q: want build NAME..., path NAME [BINARY] or list", args)
	}
}

func printPath(ctx context.Context, args []string) error {
	binary := ""
	if len(args) == 2 {
		binary = args[1]
	}
	path, err := tools.Path(ctx, say, args[0], binary)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
