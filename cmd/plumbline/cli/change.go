package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

// withWhy is for commands whose reason is kept with what they do.
func withWhy(c *cobra.Command, why *string) *cobra.Command {
	c.Flags().StringVar(why, "why", "", "the reason, for those who read the list of versions or the audit")
	if err := c.MarkFlagRequired("why"); err != nil {
		panic(err) // the line above defines it
	}
	return c
}

func (t *tool) statePush() *cobra.Command {
	var why string
	var force bool
	c := &cobra.Command{
		Use: "push WORKSPACE FILE", Short: "Make a file the newest state; - is standard input", Args: cobra.ExactArgs(2),
		Long: "Make a file the newest state; - is standard input.\n\n" +
			"As with terraform state push, a state of another lineage, or of a serial that is not higher, is refused " +
			"unless --force is given. The serial is raised then.",
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, args []string) error {
			data, err := s.readFile(args[1])
			if err != nil {
				return err
			}
			body, err := raw(s.rest.Put().AbsPath(path+"/state").Param(people.QueryWhy, why).
				Param(people.QueryForce, strconv.FormatBool(force)).Body(data).Do(ctx))
			return s.tellVersion(body, err)
		}),
	}
	c.Flags().BoolVar(&force, "force", false, "whatever lineage and serial it has")
	return withWhy(c, &why)
}

func (s *session) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(s.In)
	}
	return os.ReadFile(name)
}

func (t *tool) stateRollback() *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: "rollback WORKSPACE VERSION", Short: "Make an old version the newest state again", Args: cobra.ExactArgs(2),
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not a version's number: plumbline state list %s shows them", args[1], args[0])
			}
			asked, err := json.Marshal(people.Rollback{Version: version, Why: why})
			if err != nil {
				return fmt.Errorf("encoding the request: %w", err)
			}
			body, err := raw(s.rest.Post().AbsPath(path + "/state/rollback").Body(asked).Do(ctx))
			return s.tellVersion(body, err)
		}),
	}
	return withWhy(c, &why)
}

func (t *tool) stateRepair() *cobra.Command {
	var why string
	var yes bool
	c := &cobra.Command{
		Use: "repair WORKSPACE", Short: "Go on from the newest version that can be read", Args: cobra.ExactArgs(1),
		Long: "Go on from the newest version of the state that can be read, when the newest of all, its lock or its " +
			"outputs are damaged.\n\nWhat can't be read is kept, and listed by state list. What was made between the two " +
			"versions is not in the state any more: look at the next plan before you let it be applied. A lock whose " +
			"record can't be read is taken from whoever holds it.",
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, args []string) error {
			if err := s.tellDamage(ctx, path, args[0]); err != nil {
				return err
			}
			if !yes {
				if err := s.confirm("Go on from what can be read?"); err != nil {
					return err
				}
			}
			asked, err := json.Marshal(people.Repair{Why: why})
			if err != nil {
				return fmt.Errorf("encoding the request: %w", err)
			}
			body, err := raw(s.rest.Post().AbsPath(path + "/state/repair").Body(asked).Do(ctx))
			if err != nil {
				return err
			}
			return s.tellRepaired(body)
		}),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return withWhy(c, &why)
}

// tellDamage says what a repair will meet.
func (s *session) tellDamage(ctx context.Context, path, workspace string) error {
	var list people.Versions
	if err := s.getJSON(ctx, path+"/state/versions", &list); err != nil {
		return err
	}
	fmt.Fprintln(s.Err, "The versions of", workspace, "that are kept, the newest first:")
	if err := printVersions(s.Err, list.Versions, s.Clock.Now()); err != nil {
		return err
	}
	fmt.Fprintln(s.Err, "Its lock:", s.describeLock(ctx, path))
	return nil
}

func (s *session) tellRepaired(body []byte) error {
	var done state.Repaired
	if err := json.Unmarshal(body, &done); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if len(done.Damaged) == 0 && done.Version == nil {
		fmt.Fprintln(s.Out, "nothing is damaged; everything is as it was")
		return nil
	}
	for _, key := range done.Damaged {
		fmt.Fprintln(s.Out, "damaged, and kept:", key)
	}
	if v := done.Version; v != nil {
		fmt.Fprintf(s.Out, "version %d is the newest now, serial %d, with the content of version %d\n",
			v.Number, v.Serial, v.RollbackOf)
	}
	return nil
}

func (s *session) tellVersion(body []byte, err error) error {
	if err != nil {
		return err
	}
	var v state.Version
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(s.Out, "version %d is the newest now, serial %d\n", v.Number, v.Serial)
	return nil
}

func (t *tool) stateUnlock() *cobra.Command {
	var why, id string
	var yes bool
	c := &cobra.Command{
		Use: "unlock WORKSPACE", Short: "Take the lock from its holder", Args: cobra.ExactArgs(1),
		Long: "Take the lock from its holder, whose writes are refused from then on. The lock of a Run whose Pod has ended " +
			"passes over by itself: this is for a Pod that is certainly dead while the cluster can't tell.",
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, args []string) error {
			var lock state.LockStatus
			if err := s.getJSON(ctx, path+"/lock", &lock); err != nil {
				return err
			}
			if !lock.Held && lock.Damaged == "" {
				fmt.Fprintln(s.Out, "nobody holds the lock")
				return nil
			}
			fmt.Fprintln(s.Err, "The lock of", args[0], "is", lockText(lock, s.Clock.Now()))
			if !yes {
				if err := s.confirm("Take it?"); err != nil {
					return err
				}
			}
			if id == "" {
				id = lock.ID // it may have passed on since
			}
			return s.unlock(ctx, path, map[string]string{people.QueryID: id, people.QueryWhy: why})
		}),
	}
	c.Flags().StringVar(&id, "id", "", "the lock's ID; that of the lock that is held otherwise")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return withWhy(c, &why)
}

func (s *session) unlock(ctx context.Context, path string, query map[string]string) error {
	request := s.rest.Delete().AbsPath(path + "/lock")
	for _, key := range sortedKeys(query) {
		request.Param(key, query[key])
	}
	body, err := raw(request.Do(ctx))
	if err != nil {
		return err
	}
	var told people.Released
	if err := json.Unmarshal(body, &told); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if told.Released == nil {
		fmt.Fprintln(s.Out, "nobody holds the lock any more")
		return nil
	}
	fmt.Fprintln(s.Out, "the lock was taken from", holder(told.Released))
	return nil
}

// confirm asks a person.
func (s *session) confirm(question string) error {
	if !s.Terminal {
		return errors.New("nobody can be asked here: say --yes")
	}
	fmt.Fprint(s.Err, question, " [y/N] ")
	answer, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("left as it is")
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
