package cli

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

// stateUnsaved is about states that Runs could not save.
func (t *tool) stateUnsaved() *cobra.Command {
	var id, file, discard, why string
	c := &cobra.Command{
		Use: "unsaved WORKSPACE", Short: "The states that Runs could not save, and that the next Run stores first",
		Long: "List the states that Runs could not save. The next Run stores them before anything else, and nothing is " +
			"applied before that.\n\nOne that can't come after the stored state stays: fetch it with --id, put both " +
			"together, make that the newest with state push, and then give it up with --discard.",
		Args: cobra.ExactArgs(1),
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, _ []string) error {
			path += "/state/unsaved"
			switch {
			case discard != "" && why == "":
				return errors.New("--discard needs --why: the reason is kept in the audit")
			case discard != "":
				_, err := raw(s.rest.Delete().AbsPath(path+"/"+discard).Param(people.QueryWhy, why).Do(ctx))
				return err
			case id != "":
				return s.fetchUnsaved(ctx, path+"/"+id, file)
			}
			return s.listUnsaved(ctx, path)
		}),
	}
	c.Flags().StringVar(&id, "id", "", "fetch this one")
	c.Flags().StringVarP(&file, "output", "o", "",
		"the file to write it to, readable by you alone; standard output otherwise")
	c.Flags().StringVar(&discard, "discard", "", "the ID of one that needn't be stored any more")
	c.Flags().StringVar(&why, "why", "", "the reason for --discard")
	return c
}

func (s *session) listUnsaved(ctx context.Context, path string) error {
	var list people.UnsavedStates
	if err := s.getJSON(ctx, path, &list); err != nil {
		return err
	}
	if len(list.States) == 0 {
		fmt.Fprintln(s.Err, "No state waits to be stored.")
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tAGE\tRUN\tSERIAL\tWHY")
	for _, u := range list.States {
		age := duration.HumanDuration(s.Clock.Now().Sub(u.At))
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", u.ID, age, u.Run, u.Serial, cmp.Or(u.Why, "unknown"))
	}
	return w.Flush()
}

func (s *session) fetchUnsaved(ctx context.Context, path, file string) error {
	packed, err := raw(s.rest.Get().AbsPath(path).Do(ctx))
	if err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("unpacking the state: %w", err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("unpacking the state: %w", err)
	}
	if file != "" {
		return writePrivate(file, data)
	}
	_, err = s.Out.Write(data)
	return err
}

// describeUnsaved says of states that wait that they do; nothing where there are none, or a server of an older release
// knows of none.
func (s *session) describeUnsaved(ctx context.Context, path string) string {
	var list people.UnsavedStates
	if err := s.getJSON(ctx, path+"/state/unsaved", &list); err != nil || len(list.States) == 0 {
		return ""
	}
	return unsavedText(list.States)
}

func unsavedText(states []state.Unsaved) string {
	u := states[0]
	text := fmt.Sprintf("of run %s, serial %d: the next Run stores it before anything else", u.Run, u.Serial)
	if more := len(states) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}
