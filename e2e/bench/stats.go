package main

import "slices"

// spread is what is told of some samples.
type spread struct {
	Samples int     `json:"samples"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Max     float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{Samples: n, Min: sorted[0], Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Max: sorted[n-1]}
}

// ratio compares two series that were taken by turns. Its value is that of the medians, the spread that of the pairs.
type ratio struct {
	Value float64 `json:"value"`
	Pairs spread  `json:"pairs"`
	// Goal is the most that it should be; zero for none.
	Goal float64 `json:"goal,omitempty"`
}

func ratioOf(ours, theirs []float64, goal float64) ratio {
	var pairs []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			pairs = append(pairs, ours[i]/theirs[i])
		}
	}
	r := ratio{Pairs: spreadOf(pairs), Goal: goal}
	if base := spreadOf(theirs).Median; base > 0 {
		r.Value = spreadOf(ours).Median / base
	}
	return r
}

func (r ratio) met() bool { return r.Goal == 0 || r.Value <= r.Goal }
