package job

import "testing"

func TestExpected(t *testing.T) {
	for _, e := range []Expected{{}, {Serial: 3}, {Lineage: "l", Serial: 1 << 40, Store: "s"}} {
		if got, err := ParseExpected(e.String()); err != nil || got != e {
			t.Errorf("%+v comes back as %+v, %v", e, got, err)
		}
	}
	if s := (Expected{}).String(); s != "" {
		t.Errorf("nothing expected is %q, want no header", s)
	}
	if _, err := ParseExpected("no JSON"); err == nil {
		t.Error("what can't be read is no error")
	}
}
