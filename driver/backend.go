package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/terraform-exec/tfexec"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// stateEngine is what of *tfexec.Terraform deals with a state that is not in the state service.
type stateEngine interface {
	StatePull(ctx context.Context, opts ...tfexec.StatePullOption) (string, error)
	StatePush(ctx context.Context, path string, opts ...tfexec.StatePushCmdOption) error
	Taint(ctx context.Context, address string, opts ...tfexec.TaintOption) error
	StateMv(ctx context.Context, from, to string, opts ...tfexec.StateMvCmdOption) error
	Import(ctx context.Context, address, id string, opts ...tfexec.ImportOption) error
	ForceUnlock(ctx context.Context, lockID string, opts ...tfexec.ForceUnlockOption) error
}

// StatePull is `terraform state pull`, whose answer must not reach the log.
func (e engine) StatePull(ctx context.Context, opts ...tfexec.StatePullOption) (string, error) {
	e.SetStdout(io.Discard)
	state, err := e.Terraform.StatePull(ctx, opts...)
	return state, uncoloured(err)
}

// silently runs a command whose answer must not reach the log.
func (e engine) silently(command func() error) error {
	e.SetStdout(io.Discard)
	return uncoloured(command())
}

// StatePush is `terraform state push`, under the lock.
func (e engine) StatePush(ctx context.Context, path string, opts ...tfexec.StatePushCmdOption) error {
	e.SetStdout(io.Discard)
	return uncoloured(e.Terraform.StatePush(ctx, path, append(opts, tfexec.Lock(true))...))
}

// plainError says what its error says, for people who don't read it in a terminal.
type plainError struct {
	error
	text string
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.error }

var colour = regexp.MustCompile(`\x1b\[[0-9;]*m|^exit status \d+\n`)

// uncoloured is the error of a command that tfexec doesn't tell to be plain, with nothing but what the engine said.
func uncoloured(err error) error {
	if err == nil {
		return nil
	}
	return plainError{err, colour.ReplaceAllString(err.Error(), "")}
}

// foreign tells whether the state lies in a backend that isn't Plumbline's own.
func (r *run) foreign() bool { return r.spec.Backend != nil }

// backendEnv leads Terraform's http backend to the state service. Whoever uses another backend doesn't get it: it would
// be taken for arguments of theirs.
func (r *run) backendEnv() map[string]string {
	if r.foreign() || r.Params.Place.Move {
		return nil
	}
	return r.proxy.env()
}

// location is a backend as it is given to Terraform.
type location struct {
	job.Backend
	// name is what people call it.
	name string
	// secrets is the folder of its secret arguments.
	secrets string
}

// wanted is where the state is to be.
func (r *run) wanted() location {
	if !r.foreign() {
		return r.own()
	}
	return location{*r.spec.Backend, "the backend " + r.spec.Backend.Type, r.Paths.Backend}
}

// former is where it was before.
func (r *run) former() location {
	if r.Params.Place.From == nil {
		return r.own()
	}
	return location{*r.Params.Place.From, "the former backend " + r.Params.Place.From.Type, r.Paths.FormerBackend}
}

// own is the state service as a backend with arguments, for where it is one of two.
func (r *run) own() location {
	b := job.Backend{Type: "http", Config: map[string]json.RawMessage{}}
	if r.Params.Place.Move {
		for name, value := range r.proxy.env() {
			quoted, _ := json.Marshal(value) // strings always marshal
			b.Config[strings.ToLower(strings.TrimPrefix(name, "TF_HTTP_"))] = quoted
		}
	}
	return location{b, "Plumbline's state service", ""}
}

// use makes the work folder's backend this one, and returns what init needs to be told beside.
func (r *run) use(p location) ([]tfexec.InitOption, error) {
	if err := r.writeOverride(p); err != nil {
		return nil, err
	}
	arguments, err := p.arguments()
	if err != nil || len(arguments) == 0 {
		return nil, err
	}
	file := hclwrite.NewEmptyFile()
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		file.Body().SetAttributeValue(name, arguments[name])
	}
	// A file and no argument: those can be seen in the list of processes.
	path := filepath.Join(r.Paths.Temp, "plumbline-backend.tfbackend")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the backend's arguments: %w", err)
	}
	return []tfexec.InitOption{tfexec.BackendConfig(path)}, nil
}

// arguments are those that don't stand in the override file: what an engine might evaluate there, and what is secret.
// Written as HCL with everything in it escaped, they mean the same to every engine.
func (p location) arguments() (map[string]cty.Value, error) {
	values := map[string]cty.Value{}
	for name, raw := range p.Literal() {
		var v ctyjson.SimpleJSONValue
		if err := v.UnmarshalJSON(raw); err != nil {
			return nil, invalid("spec.backend.config: %s: %v", name, err)
		}
		values[name] = v.Value
	}
	if p.Secret {
		if err := readSecretArguments(p.secrets, values); err != nil {
			return nil, err
		}
	}
	for name := range values {
		if !hclsyntax.ValidIdentifier(name) {
			return nil, invalid("spec.backend: %q can't be the name of a backend's argument", name)
		}
	}
	return values, nil
}

// readSecretArguments reads a mounted Secret. What begins with two dots is the kubelet's.
func readSecretArguments(dir string, into map[string]cty.Value) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the backend's secret arguments: %w", err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "..") {
			continue
		}
		value, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return fmt.Errorf("reading the backend's secret arguments: %w", err)
		}
		into[f.Name()] = cty.StringVal(string(value))
	}
	return nil
}

// enter sets the backend up.
func (r *run) enter(ctx context.Context, p location, opts ...tfexec.InitOption) error {
	given, err := r.use(p)
	if err != nil {
		return err
	}
	return r.init(ctx, p, append(given, opts...)...)
}

// initForeign sets a backend up that isn't Plumbline's own, and makes sure that the state in it is the one that the
// last Run left: another one, or none, would have everything made a second time.
func (r *run) initForeign(ctx context.Context) error {
	// A module in the image may carry the .terraform folder of another backend.
	if err := r.enter(ctx, r.wanted(), tfexec.Reconfigure(true)); err != nil {
		return err
	}
	if err := r.forceUnlock(ctx); err != nil {
		return err
	}
	if err := r.pushUnsaved(ctx, r.wanted()); err != nil {
		return err
	}
	seen, _, err := r.pull(ctx)
	if err != nil {
		return err
	}
	if why := unexpected(r.Params.Place, seen); why != "" {
		return missing("%s has %s: nothing was done. Has its Secret changed? To go on with what is there, set "+
			"spec.backendChange to Forget", r.wanted().name, why)
	}
	r.seen = seen
	return nil
}

// pull reads the state in the present backend, and returns its text too.
func (r *run) pull(ctx context.Context) (s snapshot, state string, err error) {
	err = r.interruptible(ctx, func() (err error) {
		state, err = r.states.StatePull(ctx)
		return err
	})
	if err != nil {
		return snapshot{}, "", fmt.Errorf("reading the state: %w", err)
	}
	return readSnapshot([]byte(state)), state, nil
}

func (s snapshot) describe() string {
	if s.lineage == "" {
		return "no state"
	}
	return fmt.Sprintf("the state of lineage %s, serial %d", s.lineage, s.serial)
}

// knownOutputs are the outputs of the newest state, if they can be read there.
func (r *run) knownOutputs(ctx context.Context) (map[string]job.Output, error) {
	if r.foreign() {
		return r.foreignOutputs(ctx)
	}
	return r.proxy.seen().outputs, nil
}

// foreignOutputs are the outputs in a backend that isn't Plumbline's own: of a state that was read before, if nothing
// has changed since.
func (r *run) foreignOutputs(ctx context.Context) (map[string]job.Output, error) {
	if r.changed() && !r.fresh || r.seen.outputs == nil {
		seen, _, err := r.pull(ctx)
		if err != nil {
			return nil, err
		}
		r.seen, r.fresh = seen, true
	}
	return r.seen.outputs, nil
}

// concludeForeign tells of the state what is known for certain.
func (r *run) concludeForeign() {
	r.result.StateLineage = r.seen.lineage
	if r.fresh || !r.changed() || r.Params.Operation == job.Plan {
		r.result.StateSerial = r.seen.serial
	}
}
