package cluster

import (
	"slices"
	"strings"
)

// ruleTable is what has to go from one table of iptables.
type ruleTable struct {
	name                  string
	jumps, flushes, drops []string
}

func (t ruleTable) String() string {
	if len(t.drops) == 0 {
		return ""
	}
	lines := slices.Concat([]string{t.name}, t.jumps, t.flushes, t.drops, []string{"COMMIT"})
	return strings.Join(lines, "\n") + "\n"
}

// undoRules turns the output of iptables-save into input for iptables-restore that removes every chain of ours and
// every jump to one, and touches nothing else. It is empty when there is nothing of ours.
func undoRules(saved string) string {
	var out strings.Builder
	var table ruleTable
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = ruleTable{name: line}
		case strings.HasPrefix(line, ":") && isOurChain(fields[0][1:]):
			table.flushes = append(table.flushes, "-F "+fields[0][1:])
			table.drops = append(table.drops, "-X "+fields[0][1:])
		case strings.HasPrefix(line, "-A ") && !isOurChain(fields[1]) && isOurChain(jumpTarget(fields)):
			table.jumps = append(table.jumps, "-D"+strings.TrimPrefix(line, "-A"))
		case line == "COMMIT":
			out.WriteString(table.String())
		}
	}
	return out.String()
}

// isOurChain: the preflight refuses a machine on which another Kubernetes node runs, so that these are ours.
func isOurChain(name string) bool {
	return name == ourChain || strings.HasPrefix(name, "KUBE-") || strings.HasPrefix(name, "CNI-")
}

// jumpTarget takes the last jump: what looks like an earlier one stands in a comment.
func jumpTarget(fields []string) string {
	for i := len(fields) - 2; i >= 0; i-- {
		if fields[i] == "-j" || fields[i] == "-g" {
			return fields[i+1]
		}
	}
	return ""
}
