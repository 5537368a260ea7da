package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// The goals: what Plumbline means to stay below.
const (
	goalFresh    = 0.65
	goalCheck    = 0.5
	goalMakespan = 1.1
	goalWrites   = 6
)

// series are samples of one kind.
type series []sample

func (s series) seconds() []float64 {
	values := make([]float64, len(s))
	for i, x := range s {
		values[i] = x.total.Seconds()
	}
	return values
}

// report is all that was measured.
type report struct {
	Times  []timing  `json:"times"`
	Ratios []compare `json:"ratios"`
	// Writes of a no-change check, by writer, and everybody's by kind.
	Checks   int                `json:"checks,omitempty"`
	Writes   map[string]float64 `json:"writes,omitempty"`
	ByKind   map[string]float64 `json:"writesByKind,omitempty"`
	MostGoal float64            `json:"writesGoal,omitempty"`
}

// timing is one kind of measurement.
type timing struct {
	What   string   `json:"what"`
	Unit   string   `json:"unit"`
	Spread spread   `json:"spread"`
	Phases []moment `json:"phases,omitempty"`
}

// moment is the median of a phase, in seconds after the beginning; for a step, how long it took.
type moment struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Step    bool    `json:"step,omitempty"`
}

// compare is one ratio.
type compare struct {
	What string `json:"what"`
	ratio
}

func (r *report) singles(bare, fresh, check series) {
	r.Times = append(r.Times,
		timing{"bare Pod: created -> Succeeded", "s", spreadOf(bare.seconds()), moments(bare)},
		timing{"Workspace: created -> Ready", "s", spreadOf(fresh.seconds()), moments(fresh)},
		timing{"no-change check: annotation -> Ready", "s", spreadOf(check.seconds()), moments(check)})
	r.Ratios = append(r.Ratios,
		compare{"Workspace / bare Pod", ratioOf(fresh.seconds(), bare.seconds(), goalFresh)},
		compare{"no-change check / bare Pod", ratioOf(check.seconds(), bare.seconds(), goalCheck)})
}

func (r *report) batches(n int, bare, ours []crowd) {
	if len(bare) == 0 {
		return
	}
	spans := func(all []crowd) (makespans, cpu []float64) {
		for _, c := range all {
			makespans, cpu = append(makespans, c.makespan.Seconds()), append(cpu, c.cpu)
		}
		return makespans, cpu
	}
	bareSpans, bareCPU := spans(bare)
	ourSpans, ourCPU := spans(ours)
	r.Times = append(r.Times,
		timing{fmt.Sprintf("%d bare Pods at once: makespan", n), "s", spreadOf(bareSpans), nil},
		timing{fmt.Sprintf("%d Workspaces at once: makespan", n), "s", spreadOf(ourSpans), nil})
	r.Ratios = append(r.Ratios,
		compare{fmt.Sprintf("makespan of %d at once", n), ratioOf(ourSpans, bareSpans, goalMakespan)})
	if bareCPU[0] == 0 {
		return
	}
	r.Times = append(r.Times,
		timing{"machine's CPU for each bare Pod", "CPU s", spreadOf(bareCPU), nil},
		timing{"machine's CPU for each Workspace", "CPU s", spreadOf(ourCPU), nil})
	r.Ratios = append(r.Ratios, compare{"CPU of a run", ratioOf(ourCPU, bareCPU, 0)})
}

func (r *report) writes(checks int, before, after counts) {
	r.Checks, r.MostGoal = checks, goalWrites
	r.Writes = per(checks, before.byWriter, after.byWriter)
	r.ByKind = per(checks, before.byKind, after.byKind)
}

// moments are the phases' medians, in the order of the first sample.
func moments(s series) []moment {
	if len(s) == 0 {
		return nil
	}
	var all []moment
	for _, p := range s[0].phases {
		var values []float64
		for _, x := range s {
			for _, q := range x.phases {
				if q.name == p.name {
					values = append(values, q.at.Seconds())
				}
			}
		}
		all = append(all, moment{p.name, spreadOf(values).Median, p.step})
	}
	return all
}

func (r *report) save(path string) error {
	if path == "" {
		return nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("saving the figures: %w", err)
	}
	return nil
}

func (r *report) text() string {
	var b strings.Builder
	b.WriteString("\nTimes, as they were seen on this machine\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "samples\tmin\tmedian\tmax\t\t")
	for _, t := range r.Times {
		s := t.Spread
		fmt.Fprintf(w, "%d\t%.2f\t%.2f\t%.2f\t%s\t  %s\n", s.Samples, s.Min, s.Median, s.Max, t.Unit, t.What)
	}
	_ = w.Flush() // to a string: it can't fail
	b.WriteString("\nRatios: of the medians, and of the pairs that were taken one after the other\n\n")
	fmt.Fprintln(w, "ratio\tgoal\tmin\tmedian\tmax\t\t")
	for _, c := range r.Ratios {
		fmt.Fprintf(w, "%.2f\t%s\t%.2f\t%.2f\t%.2f\t%s\t  %s\n",
			c.Value, goal(c.Goal), c.Pairs.Min, c.Pairs.Median, c.Pairs.Max, verdict(c.ratio), c.What)
	}
	_ = w.Flush()
	r.whereTimeGoes(&b)
	r.whoWrites(&b)
	return b.String()
}

func goal(g float64) string {
	if g == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", g)
}

func verdict(r ratio) string {
	switch {
	case r.Goal == 0:
		return ""
	case r.met():
		return "met"
	}
	return "MISSED"
}

func (r *report) whereTimeGoes(b *strings.Builder) {
	for _, t := range r.Times {
		if len(t.Phases) == 0 {
			continue
		}
		fmt.Fprintf(b, "\nWhere the time goes (medians): %s\n\n", t.What)
		for _, m := range t.Phases {
			if m.Step {
				fmt.Fprintf(b, "             %6.2f s  %s\n", m.Seconds, m.Name)
				continue
			}
			fmt.Fprintf(b, "  at %6.2f s  %s\n", m.Seconds, m.Name)
		}
	}
}

func (r *report) whoWrites(b *strings.Builder) {
	if r.Checks == 0 {
		return
	}
	fmt.Fprintf(b, "\nAPI writes of a no-change check (mean of %d; goal for the controller: at most %.0f)\n",
		r.Checks, r.MostGoal)
	b.WriteString("counted from the API server's " + dispatched + ",\n" +
		"with a FlowSchema for each ServiceAccount's writes: of the controller in the Workspace's namespace, of the state\n" +
		"service anywhere; without leases of leader election and reviews of tokens\n\n")
	for _, who := range slices.Sorted(maps.Keys(r.Writes)) {
		fmt.Fprintf(b, "  %5.1f  %s\n", r.Writes[who], who)
	}
	b.WriteString("\nEverybody's writes of the same kinds meanwhile (" + requests + ")\n\n")
	for _, kind := range slices.Sorted(maps.Keys(r.ByKind)) {
		fmt.Fprintf(b, "  %5.1f  %s\n", r.ByKind[kind], kind)
	}
}
