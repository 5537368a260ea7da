package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// counts are the API server's own.
type counts struct {
	// byWriter counts the writes of each of our components.
	byWriter map[string]float64
	// byKind counts everybody's writes of what a Run consists of, as "POST runs" or "PATCH runs/status".
	byKind map[string]float64
}

const (
	dispatched = "apiserver_flowcontrol_dispatched_requests_total"
	requests   = "apiserver_request_total"
)

var (
	label = regexp.MustCompile(`(\w+)="([^"]*)"`)

	writeVerbs = []string{"POST", "PUT", "PATCH", "DELETE"}
	// kinds are what a Run consists of.
	kinds = []string{"runs", "workspaces", "pods", "secrets", "events"}
)

// countsIn reads the API server's metrics.
func countsIn(text string) counts {
	c := counts{byWriter: map[string]float64{}, byKind: map[string]float64{}}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, "{")
		if !ok || (name != dispatched && name != requests) {
			continue
		}
		labels, value := parse(rest)
		if name == dispatched {
			writer, ours := strings.CutPrefix(labels["flow_schema"], schemaOf(""))
			if ours && slices.Contains(components, writer) {
				c.byWriter[writer] += value
			}
			continue
		}
		if slices.Contains(writeVerbs, labels["verb"]) && slices.Contains(kinds, labels["resource"]) {
			c.byKind[kindOf(labels)] += value
		}
	}
	return c
}

func kindOf(labels map[string]string) string {
	kind := labels["verb"] + " " + labels["resource"]
	if labels["subresource"] != "" {
		kind += "/" + labels["subresource"]
	}
	return kind
}

// parse reads what follows the name's brace.
func parse(rest string) (map[string]string, float64) {
	labels := map[string]string{}
	for _, m := range label.FindAllStringSubmatch(rest, -1) {
		labels[m[1]] = m[2]
	}
	fields := strings.Fields(rest[strings.LastIndex(rest, "}")+1:])
	if len(fields) == 0 {
		return labels, 0
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return labels, 0
	}
	return labels, value
}

// settled tells whether the controller has written nothing since.
func (c counts) settled(since counts) bool {
	return since.byWriter != nil && c.byWriter["controller"] == since.byWriter["controller"]
}

// per is how much was added, for each of n.
func per(n int, before, after map[string]float64) map[string]float64 {
	added := map[string]float64{}
	for k, v := range after {
		if d := v - before[k]; d > 0 {
			added[k] = d / float64(n)
		}
	}
	return added
}
