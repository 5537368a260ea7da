package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state/people"
)

func (t *tool) plan() *cobra.Command {
	c := &cobra.Command{Use: "plan", Short: "What a Run has planned"}
	c.AddCommand(t.planShow())
	return c
}

func (t *tool) planShow() *cobra.Command {
	var asJSON bool
	var old archivedRun
	c := &cobra.Command{
		Use: "show RUN", Short: "Show the plan of a Run, or of a Workspace's last Run that planned only",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := t.connect()
			if err != nil {
				return err
			}
			part := job.PartPlanText
			if asJSON {
				part = job.PartPlanJSON
			}
			if old.asked() {
				return s.showArchived(c.Context(), args[0], part, old)
			}
			run, err := s.find(c.Context(), args[0], newestPlan)
			if err != nil {
				return err
			}
			data, err := raw(s.rest.Get().AbsPath(people.RunPath(s.namespace, run.Name) + "/" + part).Do(c.Context()))
			if apierrors.IsNotFound(err) && !notServed(err) {
				return fmt.Errorf("run %s has left no plan: only a Run of operation Plan that found changes does. "+
					"What it said: plumbline logs %s", run.Name, run.Name)
			}
			if err != nil {
				return err
			}
			if w := run.Status.Warnings; w != nil && !asJSON {
				fmt.Fprintf(s.Err, "%d warnings: plumbline status run/%s\n", w.Total, run.Name)
			}
			_, err = s.Out.Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as terraform show -json: with sensitive values, so it takes the right "+
		"to read the state too")
	old.flags(c)
	return c
}
