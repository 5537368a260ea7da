package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The test binary is the engine too: with a scene in its environment it acts as Terraform, so that the real
// terraform-exec, real processes and real signals are tested.
const (
	sceneVariable   = "FAKE_SCENE"
	streamsVariable = "FAKE_STREAMS"
	// backendVariable is the backend that the engine uses, whatever it was told.
	backendVariable = "FAKE_BACKEND"
)

func TestMain(m *testing.M) {
	scene, ok := os.LookupEnv(sceneVariable)
	config, driver := os.LookupEnv(driverVariable)
	switch hardened := os.Getenv(hardenVariable); {
	case hardened != "":
		if err := beHardened(hardened); err != nil {
			panic(err)
		}
		os.Exit(0)
	case driver:
		beDriver(config)
	case os.Getenv(reapVariable) != "":
		os.Exit(beReaped(os.Getenv(reapVariable)))
	case strings.HasPrefix(filepath.Base(os.Args[0]), providerPrefix):
		// A provider that hangs. Whoever listens for signals is never taken for deadlocked by the runtime.
		_ = interrupted()
		select {}
	case ok:
		os.Exit(act(scene, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// useFake makes the bench's engine act the scene.
func (b *bench) useFake(scene string) {
	self, err := os.Executable()
	b.must(err)
	streams, err := filepath.Abs("testdata/streams")
	b.must(err)
	b.env[engineVariable] = self
	b.env[sceneVariable] = scene
	b.env[streamsVariable] = streams
	b.cfg.Params.PassEnv = append(b.cfg.Params.PassEnv,
		sceneVariable, streamsVariable, backendVariable, cloudVariable, pushesVariable, dumpsVariable)
}

// call is one start of the engine; nth counts those of the same command from 1.
type call struct {
	command string
	args    []string
	nth     int
}

// scenes play every command but version and init, which go well unless the scene says otherwise.
var scenes = map[string]func(c call) int{
	"apply":         func(c call) int { return c.applies("apply") },
	"nochange":      func(c call) int { return c.applies("nochange") },
	"plan":          planned,
	"plan-empty":    func(c call) int { c.say("nochange"); return 0 },
	"broken":        func(c call) int { c.state("GET", ""); c.say("broken"); return 1 },
	"exists":        func(c call) int { c.fail("begun", `configmaps "a" already exists`); return 1 },
	"halfway":       func(c call) int { c.say("plan-halfway"); return 1 },
	"prevented":     func(c call) int { c.say("prevent-destroy"); return 1 },
	"relapse":       relapse,
	"forgets":       func(c call) int { return c.applies("forget") },
	"check-reads":   func(c call) int { c.state("GET", ""); c.say("check-reads"); return 2 },
	"check-fails":   func(c call) int { c.state("GET", ""); c.say("check-fails"); return 2 },
	"outputs-alone": func(c call) int { c.say("outputs-alone"); return 2 },
	"refreshes":     func(c call) int { return c.applies("refresh") },
	"waits":         func(c call) int { c.fail("begun", "polling: context deadline exceeded"); return 1 },
	"mute":          func(call) int { return 2 },
	"flaky":         flaky,
	"flaky-init":    flakyInit,
	"stubborn":      func(c call) int { c.fail("", "operation cannot be completed, please retry again"); return 1 },
	"reads":         reads,
	"hangs":         hangs,
	"stuck":         stuck,
	"deaf":          deaf,
	"unsaved":       unsaved,
	"encrypted":     encrypted,
	"old":           old,
	"talks":         talks,
	"tells":         tells,
	"environ":       environ,
	"logs":          logs,
	"abroad":        abroad,
	"hangs-at":      hangsAt,
	"hangs-at-init": hangsAt,
	"check-same":    check,
	"check-changed": check,
	"check-drifted": check,
	"check-flaky":   check,
	"imports":       importing(""),
	"imports-gone":  importing(importOfNothing),
	"imports-never": importing("resource x doesn't support import"),
	"imports-owned": importing(importedAlready + " Terraform"),
	"imports-later": importingLater,
	"dies":          dies,
	"killed":        func(call) int { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); return 0 },
}

func act(scene string, args []string) int {
	c := call{command: args[0], args: args[1:]}
	if c.command == "version" {
		version := "1.11.4"
		if scene == "old" {
			version = "1.5.7"
		}
		fmt.Printf("{\"terraform_version\": %q, \"provider_selections\": {}}\n", version)
		return 0
	}
	c.nth = c.count()
	if c.command == "init" {
		noteBackend()
	}
	if c.command == "show" {
		return show(c)
	}
	if c.command == "state" {
		return c.remoteState()
	}
	if c.command == "init" && !strings.HasSuffix(scene, "-init") && scene != "old" {
		c.say("init")
		return 0
	}
	return scenes[scene](c)
}

// count leaves the arguments in the work folder, for the test to read, and returns how many there are of this command.
func (c call) count() int {
	f, err := os.OpenFile("calls."+c.command, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(f, strings.Join(c.args, " "))
	b, _ := os.ReadFile(f.Name())
	return bytes.Count(b, []byte("\n"))
}

func (c call) say(stream string) {
	b, err := os.ReadFile(filepath.Join(os.Getenv(streamsVariable), stream+".jsonl"))
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(b)
}

// fail says an error after what the stream says.
func (c call) fail(stream, summary string) {
	if stream != "" {
		c.say(stream)
	}
	b, _ := json.Marshal(map[string]any{
		"@level": "error", "@message": "Error: " + summary, "type": "diagnostic",
		"diagnostic": map[string]any{"severity": "error", "summary": summary, "detail": ""},
	})
	fmt.Println(string(b))
}

// applies is an apply that goes well: under the lock, with the state of the stream's name saved.
func (c call) applies(stream string) int {
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.state("GET", "")
	c.say(stream)
	if stream != "nochange" {
		c.state("POST", stateOf(c.nth))
	}
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	return 0
}

// stateOf is a state with a serial and outputs.
func stateOf(serial int) string {
	return `{"version": 4, "serial": ` + strconv.Itoa(serial) + `, "lineage": "x",
		"outputs": {
			"id": {"value": "one", "type": "string"},
			"psk": {"value": "geheim", "type": "string", "sensitive": true}
		},
		"resources": [{"outputs": {"not": "these"}}]}`
}

func (c call) state(method, body string) int {
	status, _ := c.exchange(method, body)
	return status
}

// exchange is a request to the state service and its answer.
func (c call) exchange(method, body string) (int, string) {
	address := os.Getenv("TF_HTTP_ADDRESS")
	if method == "POST" {
		address += "?ID=lock-1"
	}
	req, _ := http.NewRequest(method, address, strings.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(answer)
}

func interrupted() <-chan os.Signal {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, os.Interrupt)
	return ch
}

const (
	savedPlan = "PK the plan"
	shownJSON = `{"format_version": "1.2", "unknown": "to the library"}`
	shownText = "# a will be created"
)

// planned saves its plan, which has changes.
func planned(c call) int {
	for _, arg := range c.args {
		if path, ok := strings.CutPrefix(arg, "-out="); ok {
			_ = os.WriteFile(path, []byte(savedPlan), 0o600)
		}
	}
	c.say("plan")
	return 2
}

func show(c call) int {
	if plan, err := os.ReadFile(c.args[len(c.args)-1]); err != nil || string(plan) != savedPlan {
		return 1
	}
	text := shownText
	if slices.Contains(c.args, "-json") {
		text = shownJSON
	}
	fmt.Print(text)
	return 0
}

// flaky changes something, fails in a way that goes away, and then applies the rest.
func flaky(c call) int {
	if c.nth == 1 {
		c.fail("begun", "operation cannot be completed, please retry again")
		return 1
	}
	return c.applies("apply")
}

// relapse changes something, and then can't plan any more.
func relapse(c call) int {
	if c.nth > 1 {
		c.say("broken")
		return 1
	}
	return flaky(c)
}

func flakyInit(c call) int {
	if c.command != "init" {
		return c.applies("nochange")
	}
	if c.nth < 3 {
		c.fail("", "dial tcp: lookup registry.example.com: i/o timeout")
		return 1
	}
	c.say("init")
	return 0
}

// hangs is in the middle of an apply until it is interrupted; then it saves its state as Terraform does.
func hangs(c call) int {
	ch := interrupted()
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.say("begun")
	<-ch
	c.state("POST", stateOf(7))
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	c.fail("", "execution halted")
	return 1
}

// stuck waits for its provider, which hangs; only the provider's death lets it save its state.
func stuck(c call) int {
	_ = interrupted()
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	provider := exec.Command(os.Args[0])
	provider.Args = []string{"/plugins/" + providerPrefix + "fake_v1.0.0"}
	if err := provider.Start(); err != nil {
		panic(err)
	}
	c.say("begun")
	_ = provider.Wait()
	c.state("POST", stateOf(8))
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	c.fail("", "Plugin did not respond")
	return 1
}

// deaf doesn't end at all, and leaves its lock.
func deaf(c call) int {
	_ = interrupted()
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.say("begun")
	select {}
}

// unsaved can't save its state the first time.
func unsaved(c call) int {
	if c.nth > 1 {
		return c.applies("nochange")
	}
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.say("begun")
	if status := c.state("POST", stateOf(9)); status != http.StatusOK {
		_ = os.WriteFile(erroredState, []byte(stateOf(9)), 0o600)
		c.fail("", "Failed to save state")
		return 1
	}
	return 0
}

// encrypted has a state that the driver can't read.
func encrypted(c call) int {
	if c.command == "output" {
		fmt.Println(`{"psk": {"sensitive": true, "type": "string", "value": "geheim"}}`)
		return 0
	}
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.say("apply")
	c.state("POST", `{"serial": 5, "lineage": "x", "meta": {}, "encrypted_data": "AAAA"}`)
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	return 0
}

// old is a Terraform whose init has no -json.
func old(c call) int {
	if c.command == "init" {
		fmt.Println("Initializing the backend...")
		fmt.Fprint(os.Stderr, "\n╷\n│ Error: Unsupported argument\n│ \n│   on main.tf line 1:\n│    1: x = 1\n╵\n")
		return 1
	}
	return 0
}

// talks prints a lot, in many lines and in one.
func talks(c call) int {
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.say("begun")
	text := "a: (local-exec): " + strings.Repeat("x", 990)
	line := `{"@level":"info","@message":"` + text + `","type":"provision_progress"}` + "\n"
	for range talkLines {
		_, _ = io.WriteString(os.Stdout, line)
	}
	fmt.Println(strings.Repeat("y", 8<<20))
	c.say("apply")
	c.state("POST", stateOf(1))
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	return 0
}

const talkLines = 100 << 10

// environ leaves its environment in a file.
func environ(c call) int {
	_ = os.WriteFile("environ", []byte(strings.Join(os.Environ(), "\n")+"\n"), 0o600)
	return c.applies("nochange")
}
