package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// FuzzHandler sends whatever body, query and headers to each route, as a Run that holds its Workspace's lock and as the
// controller. It is answered with a status that the API has and an error that can be read; a state that can't be served
// is never a 404, which Terraform would take for none; and another Workspace's state stays what it is.
func FuzzHandler(f *testing.F) {
	all := slices.Concat(routes, manageRoutes, archiveRoutes, unsavedRoutes)
	for i := range all {
		f.Add(uint(i), "ID=1", "", lock1)
	}
	f.Add(uint(1), "ID=1&ID=2", "1B2M2Y8AsgTpgAmY7PhCfg==", "")
	f.Add(uint(1), "ID=1", "!", `{"serial":-1}`)
	f.Add(uint(1), "ID=1", "", `{"serial":18446744073709551615,"lineage":"\u0000"}`)
	f.Add(uint(1), "ID=%zz;", "", `[[[[[[[[`)
	f.Add(uint(3), "", "", `{"ID":{}}`)
	f.Add(uint(4), "", "", `{"ID":"1","Info":{"a":[1]}}`)
	f.Add(uint(6), "", "", `{"a":{"value":null}}`)
	f.Add(uint(7), "", "", "{\"run\":\"a\",\"class\":\"\xff\"}")
	f.Add(uint(12), "drop=9223372036854775807-1", "", "\x1f\x8b")
	f.Fuzz(func(t *testing.T, n uint, query, sum, body string) {
		h := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
		const others = "/v1/workspaces/ns/other/state"
		for _, e := range []exchange{
			{oneRun, "LOCK", st, lock1, 200, ""},
			{"ns/other/b", "LOCK", others, lock1, 200, ""},
			{"ns/other/b", "POST", others + "?ID=1", `{"serial":7}`, 200, ""},
		} {
			if rec := do(t, h, e); rec.Code != e.status {
				t.Fatalf("%s %s: %d %s", e.method, e.path, rec.Code, rec.Body)
			}
		}
		r := all[n%uint(len(all))]
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.NewReplacer("{namespace}", "ns", "{name}", "ws", "{run}", "a", "{n}", "0").Replace(path)
		for _, token := range []string{oneRun, "controller"} {
			req := httptest.NewRequest(method, path, strings.NewReader(body))
			req.URL.RawQuery = query
			req.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Md5": {sum}}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			wantOfTheAPI(t, req, rec)
		}
		if rec := do(t, h, exchange{token: "ns/other/b", method: "GET", path: others}); rec.Body.String() != `{"serial":7}` {
			t.Errorf("another Workspace's state is %d %s", rec.Code, rec.Body)
		}
	})
}

// wantOfTheAPI fails unless the API has such an answer to any request.
func wantOfTheAPI(t *testing.T, req *http.Request, rec *httptest.ResponseRecorder) {
	t.Helper()
	asked := req.Method + " " + req.URL.String() + " by " + req.Header.Get("Authorization")
	var told struct{ Error string }
	switch code := rec.Code; {
	case !slices.Contains([]int{200, 204, 400, 401, 403, 404, 409, 413, 423}, code):
		t.Errorf("%s: %d %s", asked, code, rec.Body)
	case code >= 400 && code != 423 && (json.Unmarshal(rec.Body.Bytes(), &told) != nil || told.Error == ""):
		t.Errorf("%s: %d says nothing: %q", asked, code, rec.Body)
	case code == 404 && strings.HasSuffix(req.URL.Path, "/state"):
		t.Errorf("%s: a 404 looks like an empty state", asked)
	}
}
