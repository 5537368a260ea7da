package server

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/plumbline-dev/plumbline/state/people"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// TestWhatWasMadeOverTheAPI: a Run notes what it has made, also when it is over; the next Run is told, and takes it
// out. Meanwhile the Workspace isn't removed.
func TestWhatWasMadeOverTheAPI(t *testing.T) {
	g := &gate{over: map[string]bool{"a": true}}
	h := newServer(g, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	const made, unsaved = ws + "/made", ws + "/unsaved"
	const item = `[{"addr":"x.y","id_key":"id","id_value":"7"}]`
	for _, e := range []exchange{
		{other, "POST", unsaved, "", 204, ""},
		{oneRun, "PUT", made, "{}", 400, ""},
		{oneRun, "PUT", made, item, 200, ""},
		{oneRun, "DELETE", made + "/a", "", 403, ""},
		{"ns/other/a", "PUT", made, item, 403, ""},
		{"ns/other/b", "DELETE", made + "/a", "", 403, ""},
		{"controller", "PUT", made, item, 403, ""},
		{"controller", "DELETE", ws + "?uid=ns-ws", "", 409, ""},
		{other, "GET", st, "", 204, ""},
	} {
		if rec := do(t, h, e); rec.Code != e.status {
			t.Errorf("%s %s %s: %d %s", e.token, e.method, e.path, rec.Code, rec.Body)
		}
	}
	var told people.UnsavedStates
	rec := do(t, h, exchange{other, "POST", unsaved, "", 200, ""})
	err := json.Unmarshal(rec.Body.Bytes(), &told)
	if err != nil || len(told.Made) != 1 || string(told.Made["a"]) != item {
		t.Errorf("told: %d %s", rec.Code, rec.Body)
	}
	for _, e := range []exchange{
		{other, "DELETE", made + "/a", "", 200, ""},
		{other, "DELETE", made + "/a", "", 200, ""},
		{other, "POST", unsaved, "", 204, ""},
		{"controller", "DELETE", ws + "?uid=ns-ws", "", 404, ""},
	} {
		if rec := do(t, h, e); rec.Code != e.status {
			t.Errorf("%s %s %s: %d %s", e.token, e.method, e.path, rec.Code, rec.Body)
		}
	}
}
