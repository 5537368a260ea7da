// Package driver is the process in the runner Pod: it runs Terraform once, for one Run, and tells what came of it.
//
//	Params (arguments) + Spec and files (Secret) + credentials (Secrets)
//	  --prepare--> work folder, environment, loopback proxy to the state service
//	  --credentials--> Vault's answers, for the environment, files and variables; renewed until the end, then revoked
//	  --init, plan, apply--> Terraform's -json stream --> readable log and the few facts that decide
//	  --outputs--> state service
//	  --report--> job.Result to the state service and to the termination message, both always
//	  --archive--> the log, while it is written, and a plan, once it is reported, to the state service
//
// steps.go is the table of the steps. The driver knows no Kubernetes API; everything leaves through the state service.
package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Config is what a driver needs from its surroundings.
type Config struct {
	Params job.Params
	Paths  Paths
	// LookupEnv reads the driver's own environment.
	LookupEnv func(string) (string, bool)
	Stdout    io.Writer
	Clock     clock.PassiveClock
	// Login logs in to Vault.
	Login Login
	// RetryDelay is the wait before the second attempt at something; it doubles from there.
	RetryDelay time.Duration
	// StatePatience is how long the state service is tried for one request of Terraform's; some minutes when 0.
	StatePatience time.Duration
	// Finish is what the Pod has above the grace when it is asked to stop; 30 s when 0.
	Finish time.Duration
	// KillDelay lies between killing the providers and killing Terraform, which needs a moment to save its state.
	KillDelay time.Duration
}

// Paths are the folders and files around the driver.
type Paths struct {
	Spec        string // folder of the Spec and its files
	Work        string // folder that the root module is laid out in
	Credentials string // folder of the credentials' folders
	Token       string // token for the state service
	Trust       string // folder of the trusted bundles
	VaultToken  string // token for Vault
	Tokens      string // folder of the folders of other tokens
	Grants      string // folder in memory for what Vault gives
	Termination string // termination message
	Temp        string // folder for what is neither the user's nor Terraform's
	Engines     string // folder of the engine's binary
	Cgroup      string // the container's own cgroup; the usual place when empty
	// Backend and FormerBackend are the folders of backends' secret arguments.
	Backend, FormerBackend string
}

// PodPaths are the paths in a runner Pod.
func PodPaths() Paths {
	return Paths{
		Spec:        job.SpecDir,
		Work:        job.WorkDir,
		Credentials: job.CredentialsDir,
		Token:       job.StateTokenFile,
		Trust:       job.TrustDir,
		VaultToken:  job.VaultTokenFile,
		Tokens:      job.TokensDir,
		Grants:      job.GrantsDir,
		Termination: job.TerminationMessageFile,
		Temp:        "/tmp",
		Engines:     "/usr/local/bin",
		Backend:     job.BackendDir, FormerBackend: job.FormerBackendDir,
	}
}

// run is one Run as it goes on: what its steps share.
type run struct {
	Config
	log *logWriter
	// given is the Secret with the Run's files; spec is in it.
	given mounted
	spec  job.Spec
	// root is the folder that Terraform runs in, if that isn't the work folder itself.
	root string
	// override is the name of the file in it that decides on the backend.
	override string
	client   *stateClient
	proxy    *stateProxy
	// storing is how a Run begins: what earlier ones could not save is stored.
	storing *storing
	tf      Terraform
	// pace is that of the unit that goes on.
	pace  *pace
	plans planReader
	// trusted are the bundles, in PEM, that are trusted beside the system's CAs; nil for none.
	trusted []byte
	access  access
	states  stateEngine
	memory  memory
	// shipper archives the log.
	shipper *shipper
	stderr  *tail
	// engineLog is nil unless the engine is to log.
	engineLog *engineLog
	// said is what Terraform said in the attempt that goes on, or went on last.
	said *stream
	// earlier is what failed attempts at the apply did change.
	earlier job.Changes
	result  job.Result
	// journal keeps what was made and stands in no state.
	journal *journal
	ending  ending

	// What follows is about a backend that isn't Plumbline's own: see backend.go.

	// seen is the state as it was read last; fresh says that this was after the apply.
	seen  snapshot
	fresh bool
	// failing is the one of two backends that the present failure is about.
	failing string
	// began is when the Run did; left says that an engine was killed since, and may have left its lock.
	began time.Time
	left  bool
}

// Run carries the Run out and reports its Result. It returns when ctx ends, but not before Terraform has had its grace
// and the state is safe.
func Run(ctx context.Context, cfg Config) job.Result {
	r := &run{Config: cfg, shipper: newShipper(cfg.Clock), result: job.Result{Run: cfg.Params.Run}}
	stdout := newOutlet(cfg.Stdout, outletPatience)
	defer stdout.close()
	r.log = &logWriter{out: stdout, archive: r.shipper}
	r.memory.root = cmp.Or(cfg.Paths.Cgroup, cgroupRoot)
	r.listen()
	r.began = r.Clock.Now()
	defer r.leaveWord(ctx)()
	err := r.carryOut(ctx)
	if r.proxy != nil {
		r.proxy.close()
	}
	r.conclude(err)
	r.result = r.log.secrets.result(r.result)
	r.log.printf("== %s in %s: %s", r.result.Class, r.Clock.Since(r.began).Round(10*time.Millisecond), r.result.Message)
	if err := r.report(ctx); err != nil {
		r.log.printf("Reporting the result failed: %v", err)
	}
	r.revoke(ctx)
	r.archive(ctx)
	return r.result
}

func (r *run) carryOut(ctx context.Context) error {
	for _, u := range table(r.Params) {
		if err := r.carry(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// carry carries one unit out, if need be in the Pod's last moments.
func (r *run) carry(ctx context.Context, u unit) error {
	if u.after {
		var cancel context.CancelFunc
		ctx, cancel = r.afterStop(ctx, 2*outputsLimit, byState) // the step's own deadline comes first
		defer cancel()
	}
	return r.try(ctx, u)
}

// conclude fills in the Result from what was learned on the way.
func (r *run) conclude(err error) {
	switch {
	case r.foreign():
		r.concludeForeign()
	case r.proxy != nil:
		r.concludeOwn()
	}
	r.result.Changes = r.changes()
	r.result.Warnings, r.result.Checks = r.said.warned.result(), r.checks()
	r.result.Drift, r.result.DriftTotal = r.said.drift, r.said.driftTotal
	var f *failure
	switch {
	case errors.As(err, &f):
		r.result.Class, r.result.Message = f.class, f.message
	case err != nil:
		r.result.Class, r.result.Message = job.Canceled, "stopped while waiting to try again"
	default:
		r.result.Class, r.result.Message = r.success()
	}
}

func (r *run) success() (job.Class, string) {
	switch {
	case !r.changed():
		return job.NoChanges, "nothing to change"
	case r.Params.Operation == job.Plan:
		return job.Planned, r.said.summary
	case r.Params.Operation == job.Refresh:
		return job.Applied, fmt.Sprintf("the state was brought up to date: %d resources had changed", r.said.driftTotal)
	default:
		return job.Applied, r.said.summary
	}
}

// changed tells whether the plan has changes, or an earlier attempt at it has made some. A refresh changes the state
// alone, where reality differs from it.
func (r *run) changed() bool {
	refreshed := r.Params.Operation == job.Refresh && r.said.driftTotal > 0
	return r.said.anything || r.earlier.Any() || refreshed
}

// changes are those that were made, by any attempt, or planned if nothing was to be made; nil if it never came to a
// plan.
func (r *run) changes() *job.Changes {
	c := r.said.planned
	if r.Params.Operation == job.Plan {
		return c
	}
	if made := sum(r.earlier, r.said.changed()); c != nil || made.Any() {
		return &made
	}
	return nil
}

// checks is what became of check blocks: nil before a plan, and for a configuration that has none, as far as is known.
func (r *run) checks() *job.Checks {
	if c := r.said.warned.checks; c.Failed > 0 {
		return &c
	}
	if r.said.planned == nil || r.Params.Operation == job.Destroy || !r.known().checks {
		return nil
	}
	return &job.Checks{}
}

// known is the state as it was seen last.
func (r *run) known() snapshot {
	if r.proxy != nil && !r.foreign() {
		return r.proxy.seen()
	}
	return r.seen
}

func sum(a, b job.Changes) job.Changes {
	return job.Changes{
		Add:     a.Add + b.Add,
		Change:  a.Change + b.Change,
		Destroy: a.Destroy + b.Destroy,
		Import:  a.Import + b.Import,
		Forget:  a.Forget + b.Forget,
	}
}

// Refuse leaves a Result for a Run whose Params can't be read: without them there is nobody to report to.
func Refuse(paths Paths, err error) error {
	return job.Write(paths.Termination, job.Result{Class: job.ConfigInvalid, Message: err.Error()})
}

// failure is an error with a class, and a message for people.
type failure struct {
	class   job.Class
	message string
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %s", f.class, f.message) }

func invalid(format string, args ...any) error {
	return &failure{class: job.ConfigInvalid, message: fmt.Sprintf(format, args...)}
}
