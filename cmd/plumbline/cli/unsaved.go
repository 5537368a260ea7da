package cli

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
		Use: "unsaved WORKSPACE", Short: "The states that Runs could not save, and what they made that is in no state",
		Long: "List the states that Runs could not save. The next Run stores them before anything else, and nothing is " +
			"applied before that.\n\nOne that can't come after the stored state stays: fetch it with --id, put both " +
			"together, make that the newest with state push, and then give it up with --discard.\n\n" +
			"What a Run has made before its engine was killed, and no state has, is listed too, with its address and ID: the " +
			"next Run imports it before it plans. What can't be imported holds the Workspace: put it into the state or remove " +
			"it, and then discard the list with --discard and the name of the Run.",
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
	c.Flags().StringVar(&discard, "discard", "", "the ID of one that needn't be stored, or the Run whose list is settled")
	c.Flags().StringVar(&why, "why", "", "the reason for --discard")
	return c
}

func (s *session) listUnsaved(ctx context.Context, path string) error {
	var list people.UnsavedStates
	if err := s.getJSON(ctx, path, &list); err != nil {
		return err
	}
	if len(list.States)+len(list.Made) == 0 {
		fmt.Fprintln(s.Err, "No state waits to be stored.")
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 3, ' ', 0)
	if err := describeMade(w, list.Made); err != nil {
		return err
	}
	if len(list.States) == 0 {
		return w.Flush()
	}
	fmt.Fprintln(w, "ID\tAGE\tRUN\tSERIAL\tWHY")
	for _, u := range list.States {
		age := duration.HumanDuration(s.Clock.Now().Sub(u.At))
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", u.ID, age, u.Run, u.Serial, cmp.Or(u.Why, "unknown"))
	}
	return w.Flush()
}

// describeMade lists what Runs whose engine was killed have made, and no state has. A person imports it from here.
func describeMade(w io.Writer, made map[string]json.RawMessage) error {
	if len(made) > 0 {
		fmt.Fprintln(w, "RUN\tMADE, AND IN NO STATE\tIMPORT ID")
	}
	for _, run := range slices.Sorted(maps.Keys(made)) {
		var items []struct {
			Addr    string `json:"addr"`
			IDValue string `json:"id_value"`
		}
		if err := json.Unmarshal(made[run], &items); err != nil {
			return fmt.Errorf("reading what run %s has made: %w", run, err)
		}
		for _, i := range items {
			fmt.Fprintf(w, "%s\t%s\t%s\n", run, i.Addr, cmp.Or(i.IDValue, "unknown"))
		}
	}
	if len(made) > 0 {
		fmt.Fprintln(w) // between two tables
	}
	return nil
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
	switch err := s.getJSON(ctx, path+"/state/unsaved", &list); {
	case err != nil || len(list.States)+len(list.Made) == 0:
		return ""
	case len(list.States) == 0:
		return fmt.Sprintf("made by run %s, and in no state: the next Run imports it before it plans",
			strings.Join(slices.Sorted(maps.Keys(list.Made)), ", "))
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
