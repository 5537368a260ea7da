package names

import (
	"regexp"
	"strings"
	"testing"
)

func TestJoin(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct{ name, base, suffix, want string }{
		{"what fits is only joined", "vpn", "outputs", "vpn-outputs"},
		{"63 characters fit", strings.Repeat("a", 55), "outputs", strings.Repeat("a", 55) + "-outputs"},
		{"a long base is cut and hashed, and the suffix stays", long, "outputs",
			strings.Repeat("a", 46) + "-" + Hash(long+"-outputs") + "-outputs"},
		{"the cut leaves no separator before the hash", strings.Repeat("a", 45) + "." + long, "outputs",
			strings.Repeat("a", 45) + "-" + Hash(strings.Repeat("a", 45)+"."+long+"-outputs") + "-outputs"},
		{"a suffix that leaves no room is cut too", "credential", long,
			"credential-" + strings.Repeat("a", 43) + "-" + Hash("credential-"+long)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Join(test.base, test.suffix); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEveryNameFits(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	for base := 1; base <= 253; base++ {
		for _, suffix := range []int{1, 7, 8, 10, 50, 53, 54, 63} {
			name := Join(strings.Repeat("b", base), strings.Repeat("s", suffix))
			if len(name) > Max || !valid.MatchString(name) {
				t.Fatalf("base of %d, suffix of %d: %q", base, suffix, name)
			}
		}
	}
}

func TestNamesThatDifferAtTheEndStayApart(t *testing.T) {
	long := strings.Repeat("a", 70)
	if Join(long+"1", "x") == Join(long+"2", "x") || Label(long+"1") == Label(long+"2") {
		t.Error("two names became one")
	}
}

func TestHashTellsItsPartsApart(t *testing.T) {
	if Hash("ab", "c") == Hash("a", "bc") {
		t.Error("one part runs into the next")
	}
}

func TestLabel(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"what fits stays", strings.Repeat("a", 63), strings.Repeat("a", 63)},
		{"what doesn't is cut and hashed", strings.Repeat("a", 64),
			strings.Repeat("a", 54) + "-" + Hash(strings.Repeat("a", 64))},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Label(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestJoinObjectLeavesLongNamesAlone(t *testing.T) {
	long := strings.Repeat("a", 245)
	if got := JoinObject(long, "outputs"); got != long+"-outputs" {
		t.Errorf("got %q", got)
	}
	got := JoinObject(long+"b", "outputs")
	if len(got) > MaxObject || !strings.HasSuffix(got, "-outputs") || got == JoinObject(long+"c", "outputs") {
		t.Errorf("got %q", got)
	}
}
