package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

func (t *tool) status() *cobra.Command {
	return &cobra.Command{
		Use: "status WORKSPACE|RUN", Short: "Show what came of a Run: changes, warnings, checks, drift",
		Long: "Show what came of a Run, or of the Run of a Workspace that goes on or was the last: its changes, what " +
			"Terraform warned of (a variable that the configuration doesn't declare, say), which checks fail, and what " +
			"drifted.\n\n" +
			"run/NAME and workspace/NAME tell a Run from a Workspace of the same name.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := t.connect()
			if err != nil {
				return err
			}
			run, err := s.find(c.Context(), args[0], activeOrNewest)
			if errors.Is(err, errNoRun) {
				return fmt.Errorf("workspace %s has no Run yet: kubectl describe workspace %s says why", args[0], args[0])
			}
			if err != nil {
				return err
			}
			return describe(s.Out, run)
		},
	}
}

// describe writes what is known of a Run, and nothing of what there is none.
func describe(to io.Writer, run *v1alpha1.Run) error {
	var b strings.Builder
	s := run.Status
	fmt.Fprintf(&b, "Run:      %s (%s, %s)\n", run.Name, run.Spec.Operation, run.Spec.Trigger.Kind)
	fmt.Fprintf(&b, "Result:   %s\n", phase(run))
	if s.Changes != nil {
		fmt.Fprintf(&b, "Changes:  %s\n", s.Changes.Summary)
	}
	if w := s.Warnings; w != nil {
		fmt.Fprintf(&b, "Warnings: %d\n", w.Total)
		list(&b, w.First, w.Total)
	}
	switch c := s.Checks; {
	case c != nil && c.Failed > 0:
		fmt.Fprintf(&b, "Checks:   %d failed\n", c.Failed)
		list(&b, c.Messages, c.Failed)
	case c != nil:
		b.WriteString("Checks:   passed\n")
	}
	if d := s.Drift; d != nil {
		fmt.Fprintf(&b, "Drift:    %d\n", d.Total)
		var lines []string
		for _, r := range d.Resources {
			lines = append(lines, fmt.Sprintf("%s (%s)", r.Address, strings.Join(r.Actions, ", ")))
		}
		list(&b, lines, d.Total)
	}
	if _, err := io.WriteString(to, b.String()); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// list writes the lines that are known of so many.
func list(b *strings.Builder, lines []string, total int32) {
	for _, line := range lines {
		b.WriteString("  " + line + "\n")
	}
	if more := int(total) - len(lines); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}
