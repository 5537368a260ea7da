package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

func (t *tool) state() *cobra.Command {
	c := &cobra.Command{Use: "state", Short: "The state of a Workspace, its versions and its lock"}
	c.AddCommand(t.stateList(), t.stateShow(), t.statePull(), t.statePush(), t.stateRollback(), t.stateRepair(),
		t.stateUnlock(), t.stateUnsaved(), t.stateOrphans(), t.stateAdopt())
	return c
}

// onWorkspace connects and hands a command the path of the Workspace that its first argument names.
func (t *tool) onWorkspace(do func(ctx context.Context, s *session, path string, args []string) error) func(
	*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := checkName(args[0]); err != nil {
			return err
		}
		s, err := t.connect()
		if err != nil {
			return err
		}
		return do(c.Context(), s, people.WorkspacePath(s.namespace, args[0]), args)
	}
}

// onKept is onWorkspace for a state that may have no Workspace any more: the flag --uid names it then.
func (t *tool) onKept(c *cobra.Command, do func(ctx context.Context, s *session, path string) error) (
	cobra.PositionalArgs, func(*cobra.Command, []string) error,
) {
	uid := c.Flags().String("uid", "", "in place of a Workspace, the UID of one that is gone: see state orphans")
	args := func(c *cobra.Command, args []string) error {
		if *uid != "" {
			return cobra.NoArgs(c, args)
		}
		return cobra.ExactArgs(1)(c, args)
	}
	return args, func(c *cobra.Command, args []string) error {
		if *uid != "" {
			s, err := t.connect()
			if err != nil {
				return err
			}
			return do(c.Context(), s, people.StatePath(s.namespace, *uid))
		}
		return t.onWorkspace(func(ctx context.Context, s *session, path string, _ []string) error {
			return do(ctx, s, path+"/state")
		})(c, args)
	}
}

func (t *tool) stateList() *cobra.Command {
	c := &cobra.Command{Use: "list WORKSPACE | --uid UID", Short: "List the versions of the state that are kept"}
	c.Args, c.RunE = t.onKept(c, func(ctx context.Context, s *session, path string) error {
		var list people.Versions
		if err := s.getJSON(ctx, path+"/versions", &list); err != nil {
			return err
		}
		if len(list.Versions) == 0 {
			fmt.Fprintln(s.Err, "No state was written yet.")
			return nil
		}
		return printVersions(s.Out, list.Versions, s.Clock.Now())
	})
	return c
}

func printVersions(out io.Writer, versions []state.Version, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "VERSION\tAGE\tBY\tSERIAL\tSIZE\tDIGEST\tNOTE")
	for _, v := range versions {
		age, by := "", "run "+v.Run
		if !v.At.IsZero() {
			age = duration.HumanDuration(now.Sub(v.At))
		}
		if v.Person != "" {
			by = v.Person
		} else if v.Run == "" {
			by = ""
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%.19s\t%s\n", v.Number, age, by, v.Serial, size(v.Size), v.Digest, note(v))
	}
	return w.Flush()
}

func note(v state.Version) string {
	switch {
	case v.Damaged != "":
		return "can't be read: " + v.Damaged
	case v.CopyOf > 0:
		return fmt.Sprintf("copy of %d", v.CopyOf)
	case len(v.Replaces) > 0:
		return fmt.Sprintf("in place of %d, which can't be read: %s", v.Replaces, v.Why)
	case v.AdoptedFrom != "":
		return fmt.Sprintf("taken over from UID %s: %s", v.AdoptedFrom, v.Why)
	case v.RollbackOf > 0:
		return fmt.Sprintf("rollback to %d: %s", v.RollbackOf, v.Why)
	case v.Person != "":
		return "pushed: " + v.Why
	case v.Size == 0:
		return "removed"
	}
	return ""
}

func size(n int) string {
	if n < 10<<10 {
		return strconv.Itoa(n) + " B"
	}
	return strconv.Itoa(n>>10) + " KiB"
}

func (t *tool) stateShow() *cobra.Command {
	return &cobra.Command{
		Use: "show WORKSPACE", Short: "Show what is in the state, by name, and who holds its lock",
		Long: "Show what is in the state, by name, and who holds its lock. Values are never shown: see state pull.",
		Args: cobra.ExactArgs(1),
		RunE: t.onWorkspace(func(ctx context.Context, s *session, path string, _ []string) error {
			var content stateFile
			err := s.getJSON(ctx, path+"/state", &content)
			switch {
			case apierrors.IsNotFound(err) && !notServed(err):
				fmt.Fprintln(s.Out, Explain(err))
			case err != nil:
				return err
			default:
				content.print(s.Out)
			}
			fmt.Fprintln(s.Out, "Lock:     ", s.describeLock(ctx, path))
			if unsaved := s.describeUnsaved(ctx, path); unsaved != "" {
				fmt.Fprintln(s.Out, "Unsaved:  ", unsaved)
			}
			return nil
		}),
	}
}

// stateFile is what is shown of a state: no values.
type stateFile struct {
	TerraformVersion string `json:"terraform_version"`
	Serial           uint64 `json:"serial"`
	Lineage          string `json:"lineage"`
	Outputs          map[string]struct {
		Sensitive bool `json:"sensitive"`
	} `json:"outputs"`
	Resources []struct {
		Module    string            `json:"module"`
		Mode      string            `json:"mode"`
		Type      string            `json:"type"`
		Name      string            `json:"name"`
		Instances []json.RawMessage `json:"instances"`
	} `json:"resources"`
}

func (f stateFile) print(out io.Writer) {
	fmt.Fprintf(out, "Serial:    %d\nLineage:   %s\nTerraform: %s\n", f.Serial, f.Lineage, f.TerraformVersion)
	fmt.Fprintf(out, "Resources: %d\n", len(f.Resources))
	for _, r := range f.Resources {
		address := r.Type + "." + r.Name
		if r.Mode == "data" {
			address = "data." + address
		}
		if r.Module != "" {
			address = r.Module + "." + address
		}
		if len(r.Instances) != 1 {
			address += fmt.Sprintf(" (%d instances)", len(r.Instances))
		}
		fmt.Fprintln(out, "  "+address)
	}
	fmt.Fprintf(out, "Outputs:   %d\n", len(f.Outputs))
	for _, name := range sortedKeys(f.Outputs) {
		if f.Outputs[name].Sensitive {
			name += " (sensitive)"
		}
		fmt.Fprintln(out, "  "+name)
	}
}

// describeLock says who holds the lock, or why nobody can tell.
func (s *session) describeLock(ctx context.Context, path string) string {
	var lock state.LockStatus
	if err := s.getJSON(ctx, path+"/lock", &lock); err != nil {
		return "unknown: " + err.Error()
	}
	return lockText(lock, s.Clock.Now())
}

func lockText(lock state.LockStatus, now time.Time) string {
	switch {
	case lock.Damaged != "":
		return "unknown, for its record can't be read: " + lock.Damaged
	case !lock.Held && lock.Forced != "":
		return fmt.Sprintf("free; %s took it: %s", lock.Forced, lock.Why)
	case !lock.Held:
		return "free"
	}
	since := duration.HumanDuration(now.Sub(lock.Since))
	text := fmt.Sprintf("held by %s for %s, ID %s", holder(lock.Holder), since, lock.ID)
	if lock.HolderGone {
		text += "; the holder has ended: the next Run takes the lock over"
	}
	return text
}

func holder(h *state.Holder) string {
	if h.Person != "" {
		return h.Person
	}
	return "run " + h.Run + " in pod " + h.Pod
}

func (t *tool) statePull() *cobra.Command {
	var version uint64
	var file string
	c := &cobra.Command{
		Use: "pull WORKSPACE | --uid UID", Short: "Fetch the state, or an old version of it",
	}
	c.Args, c.RunE = t.onKept(c, func(ctx context.Context, s *session, path string) error {
		if version > 0 {
			path += "/versions/" + strconv.FormatUint(version, 10)
		}
		data, err := raw(s.rest.Get().AbsPath(path).Do(ctx))
		if err != nil {
			return err
		}
		if file != "" {
			return writePrivate(file, data)
		}
		_, err = s.Out.Write(data)
		return err
	})
	c.Flags().Uint64Var(&version, "version", 0, "the version's number; the newest otherwise")
	c.Flags().StringVarP(&file, "output", "o", "", "the file to write, readable by you alone; standard output otherwise")
	return c
}

// writePrivate writes a file that its owner alone can read, also in place of one that others can: the former one's mode
// would stay, and a link would lead elsewhere.
func writePrivate(file string, data []byte) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(file, data, 0o600) // a pipe or a device, which isn't replaced
	}
	beside, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	_, err = beside.Write(data)
	if err = errors.Join(err, beside.Close()); err == nil {
		err = os.Rename(beside.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", file, err), os.Remove(beside.Name()))
	}
	return nil
}
