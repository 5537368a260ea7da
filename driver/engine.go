package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Terraform is what the steps need of *tfexec.Terraform.
type Terraform interface {
	InitText(ctx context.Context, w io.Writer, opts ...tfexec.InitOption) error
	InitJSON(ctx context.Context, w io.Writer, opts ...tfexec.InitOption) error
	PlanJSON(ctx context.Context, w io.Writer, opts ...tfexec.PlanOption) (bool, error)
	ApplyJSON(ctx context.Context, w io.Writer, opts ...tfexec.ApplyOption) error
	Output(ctx context.Context, opts ...tfexec.OutputOption) (map[string]tfexec.OutputMeta, error)
}

// engine is tfexec's Terraform without its habit of copying to the stream of the call before: the answer of
// `terraform output` has sensitive values in it and must not reach the log.
type engine struct{ *tfexec.Terraform }

// InitText is `terraform init` with its words for people. tfexec writes whole lines.
func (e engine) InitText(ctx context.Context, w io.Writer, opts ...tfexec.InitOption) error {
	e.SetStdout(w)
	defer e.SetStdout(io.Discard)
	return e.Init(ctx, opts...)
}

// Output is `terraform output -json`.
func (e engine) Output(ctx context.Context, opts ...tfexec.OutputOption) (map[string]tfexec.OutputMeta, error) {
	e.SetStdout(io.Discard)
	return e.Terraform.Output(ctx, opts...)
}

// engineVariable names an engine outside the usual folder.
const engineVariable = "PLUMBLINE_ENGINE"

func (r *run) setUpEngine() error {
	path, err := r.findEngine()
	if err != nil {
		return err
	}
	env, err := r.terraformEnv()
	if err != nil {
		return err
	}
	if env["TF_CLI_CONFIG_FILE"], err = r.writeCLIConfig(); err != nil {
		return err
	}
	tf, err := tfexec.NewTerraform(r.work("."), path)
	if err != nil {
		return fmt.Errorf("setting up %s: %w", path, err)
	}
	if err := tf.SetEnv(env); err != nil {
		return fmt.Errorf("setting the environment of %s: %w", path, err)
	}
	// tfexec's own kill is the very last rung: it comes after all of the ladder's.
	if err := tf.SetWaitDelay(r.Params.Timeouts.Grace + 2*r.KillDelay); err != nil {
		return fmt.Errorf("setting up %s: %w", path, err)
	}
	if err := r.setUpLog(tf); err != nil {
		return err
	}
	tf.SetStderr(writerFunc(func(b []byte) (int, error) { return r.stderr.Write(b) }))
	r.tf, r.plans, r.states = engine{tf}, showEngine{tf}, engine{tf}
	return nil
}

// setUpLog has the engine log what was asked for.
func (r *run) setUpLog(tf *tfexec.Terraform) (err error) {
	level := r.Params.Engine.LogLevel
	if level == "" {
		return nil
	}
	if r.engineLog == nil {
		if r.engineLog, err = openEngineLog(r.Paths.Temp, r.log); err != nil {
			return err
		}
	}
	if err := errors.Join(tf.SetLogPath(r.engineLog.path), tf.SetLog(level)); err != nil {
		return fmt.Errorf("setting the engine's log level to %s: %w", level, err)
	}
	return nil
}

func (r *run) findEngine() (string, error) {
	if path, ok := r.LookupEnv(engineVariable); ok && path != "" {
		return path, nil
	}
	for _, name := range []string{"terraform", "tofu"} {
		path := filepath.Join(r.Paths.Engines, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", invalid("the runner image has neither terraform nor tofu in %s", r.Paths.Engines)
}

// initialize sets the backend up in which the state lies, once it has in it what earlier Runs could not save.
func (r *run) initialize(ctx context.Context, _ *pace) error {
	r.listen()
	r.failing = ""
	r.storeUnsaved(ctx)
	err := r.enterBackend(ctx)
	if unsaved := r.nothingUnsaved(ctx); unsaved != nil {
		return unsaved // which is also why init got no state
	}
	if err != nil {
		return err
	}
	return r.noneLeft(ctx)
}

func (r *run) enterBackend(ctx context.Context) error {
	switch {
	case r.Params.Place.Move:
		return r.move(ctx)
	case r.foreign():
		return r.initForeign(ctx)
	}
	// A module in the image may carry the .terraform folder of another backend.
	return r.init(ctx, r.own(), tfexec.Reconfigure(true))
}

// init sets up the backend that lies there, and what else Terraform needs.
func (r *run) init(ctx context.Context, p location, opts ...tfexec.InitOption) error {
	err := r.watched(ctx, r.pace, func() error {
		err := r.tf.InitJSON(ctx, r.said, opts...)
		if old := (*tfexec.ErrVersionMismatch)(nil); errors.As(err, &old) {
			// What it says is all there is to see, and to tell that it goes on.
			return r.tf.InitText(ctx, r.said, opts...)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.checkBackend(p)
}

// plan saves the plan, for whoever archives it.
func (r *run) plan(ctx context.Context, p *pace) error {
	return r.makePlan(ctx, p, tfexec.Out(r.planFile()))
}

// check applies only if a plan has found something: it writes no state, and costs less than an apply of nothing. What
// it has found is planned anew, so that no plan needs to be saved; secrets would be in it. The state service gives out
// whole versions, so that nothing needs to be locked for looking at one; other backends may not.
func (r *run) check(ctx context.Context, p *pace) error {
	if err := r.makePlan(ctx, p, tfexec.Lock(r.foreign())); err != nil {
		return err
	}
	if !r.said.anything && r.said.driftTotal == 0 {
		return nil
	}
	r.log.printf("== something differs: planning again, to apply it")
	return r.apply(ctx, p)
}

func (r *run) makePlan(ctx context.Context, p *pace, opts ...tfexec.PlanOption) error {
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	r.listen()
	for _, t := range r.Params.Targets {
		opts = append(opts, tfexec.Target(t))
	}
	for _, a := range r.Params.Replace {
		opts = append(opts, tfexec.Replace(a))
	}
	for _, f := range r.varFiles() {
		opts = append(opts, f)
	}
	if n := r.Params.Engine.Parallelism; n > 0 {
		opts = append(opts, tfexec.Parallelism(n))
	}
	return r.watched(ctx, p, func() error {
		// What differs is what the stream says: the exit code counts what a check block reads, too.
		differs, err := r.tf.PlanJSON(ctx, r.said, opts...)
		if err == nil && differs && r.said.planned == nil {
			return &failure{job.PlanFailed, "the engine ended without saying what it plans"}
		}
		return err
	})
}

func (r *run) apply(ctx context.Context, p *pace) error {
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	r.listen()
	r.said.onApply, r.said.journal = p.next, r.journal
	opts := applyOptions(r.Params)
	for _, f := range r.varFiles() {
		opts = append(opts, f)
	}
	before := r.mark()
	err := r.watched(ctx, p, func() error { return r.tf.ApplyJSON(ctx, r.said, opts...) })
	if err != nil && !r.said.completed(ctx) {
		return err
	}
	return r.delivered(ctx, before)
}

// listen begins with a new stream: what an attempt said says nothing about the next, but what it did is done.
func (r *run) listen() {
	before := r.said
	r.stderr, r.said = &tail{out: r.log}, newStream(r.log)
	if before == nil {
		return
	}
	r.earlier = sum(r.earlier, before.changed())
	r.said.warned = before.warned
	r.said.warned.again()
}

func applyOptions(p job.Params) []tfexec.ApplyOption {
	var opts []tfexec.ApplyOption
	switch p.Operation {
	case job.Destroy:
		opts = append(opts, tfexec.Destroy(true))
	case job.Refresh:
		opts = append(opts, tfexec.RefreshOnly(true))
	}
	for _, t := range p.Targets {
		opts = append(opts, tfexec.Target(t))
	}
	for _, a := range p.Replace {
		opts = append(opts, tfexec.Replace(a))
	}
	if n := p.Engine.Parallelism; n > 0 {
		opts = append(opts, tfexec.Parallelism(n))
	}
	return opts
}

// outputs sends the outputs to the state service. They stand in the state that went through the proxy, which spares a
// `terraform output`; only a state that the proxy can't read, such as OpenTofu's encrypted one, needs the call.
func (r *run) outputs(ctx context.Context, _ *pace) error {
	outputs, err := r.knownOutputs(ctx)
	if err == nil && outputs == nil {
		outputs, err = r.askOutputs(ctx)
	}
	if err != nil {
		return err
	}
	digest, err := job.DigestOutputs(job.SecretData(outputs))
	if err != nil {
		return err
	}
	if r.changed() || !r.client.hasOutputs(ctx, digest) {
		if err := r.client.putOutputs(ctx, outputs); err != nil {
			return err
		}
	}
	r.result.OutputsDigest = digest
	return nil
}

func (r *run) askOutputs(ctx context.Context) (map[string]job.Output, error) {
	var metas map[string]tfexec.OutputMeta
	err := r.interruptible(ctx, func() (err error) {
		metas, err = r.tf.Output(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	outputs := make(map[string]job.Output, len(metas))
	for name, m := range metas {
		outputs[name] = job.Output{Sensitive: m.Sensitive, Type: m.Type, Value: m.Value}
	}
	return outputs, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
