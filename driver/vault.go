package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// Session is a login to Vault, as *credentials.Session is one.
type Session interface {
	Accessor() string
	Fetch(context.Context, credentials.Request) (credentials.Answer, error)
	Keep(ctx context.Context, margin time.Duration) error
	Revoke(context.Context) error
}

// Login logs in to Vault.
type Login func(context.Context, credentials.Config) (Session, error)

const (
	// revokeLimit is for how long revocation is tried while nobody asks the Pod to stop: an election in Vault is shorter.
	revokeLimit = 30 * time.Second
	// accessorShare is the part of the step's time that the state service has to take the accessors in.
	accessorShare = 3
)

// access is what a Run has got from Vault.
type access struct {
	// sessions by role.
	sessions map[string]Session
	// env and variables are what Terraform gets, by name.
	env, variables map[string]string
	// varFile holds the variables; empty without any.
	varFile string
	// fresh is until when the cloud may not know the credentials yet; zero without any that are made on demand.
	fresh time.Time
	// lost is called once something can't be kept; kept then ends with the reason as its cause. nil before that.
	kept context.Context
	lost context.CancelCauseFunc
	// keepers renew until stop.
	keepers sync.WaitGroup
	stop    context.CancelFunc
}

// fetchCredentials is the step that gets everything from Vault before Terraform starts.
func (r *run) fetchCredentials(ctx context.Context, _ *pace) error {
	if err := r.fetch(ctx); err != nil {
		return r.unfetched(ctx, err)
	}
	if err := r.grantFiles(); err != nil {
		return err
	}
	if err := r.setUpEngine(); err != nil {
		return err
	}
	r.keep(context.WithoutCancel(ctx))
	return nil
}

// unfetched gives a failure its class. That the step's time is up is Vault's doing, not Terraform's.
func (r *run) unfetched(ctx context.Context, err error) error {
	var e *credentials.Error
	var f *failure
	late := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
	switch {
	case errors.As(err, &f), ctx.Err() != nil && !late: // or asked to stop
		return err
	case errors.As(err, &e) && late && e.Class == job.CredentialsUnavailable:
		return &failure{e.Class, fmt.Sprintf("%s (tried for %s)", e.Message, r.credentialsLimit())}
	case errors.As(err, &e):
		return &failure{e.Class, e.Message}
	case late:
		return &failure{job.CredentialsUnavailable, fmt.Sprintf("Vault at %s gave no credentials within %s",
			r.Params.Vault.Address, r.credentialsLimit())}
	}
	return err
}

func (r *run) credentialsLimit() time.Duration {
	return cmp.Or(r.Params.Timeouts.Credentials, credentialsLimit)
}

func (r *run) fetch(ctx context.Context) error {
	r.access.sessions = map[string]Session{}
	r.access.env, r.access.variables = map[string]string{}, map[string]string{}
	r.keepTokens()
	if err := r.logIn(ctx); err != nil {
		return err
	}
	r.tellAccessors(ctx)
	for _, v := range r.spec.Vault {
		if err := r.fetchOne(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// logIn makes one session for each role.
func (r *run) logIn(ctx context.Context) error {
	if r.Login == nil {
		return invalid("this driver knows no Vault")
	}
	v := r.Params.Vault
	for _, request := range r.spec.Vault {
		role := r.role(request)
		if r.access.sessions[role] != nil {
			continue
		}
		s, err := r.Login(ctx, credentials.Config{
			Address: v.Address, AuthPath: v.AuthPath, Namespace: v.Namespace, Role: role, CA: []byte(v.CA),
			Trusted: r.trusted, TokenFile: r.Paths.VaultToken, MaxTTL: v.MaxTTL, Log: r.log.printf, RetryDelay: r.RetryDelay,
		})
		if err != nil {
			return err
		}
		r.access.sessions[role] = s
		r.log.printf("Logged in to Vault at %s as role %s", v.Address, role)
	}
	return nil
}

func (r *run) role(v job.VaultRequest) string { return cmp.Or(v.Role, r.Params.Vault.Role) }

// tellAccessors has the controller able to revoke what this process may not live to revoke. It comes before anything is
// read, and can't keep a Run from it: the tokens end by themselves at the Run's deadline.
func (r *run) tellAccessors(ctx context.Context) {
	var accessors []string
	for _, s := range r.access.sessions {
		if a := s.Accessor(); a != "" {
			accessors = append(accessors, a)
		}
	}
	if len(accessors) == 0 {
		return
	}
	slices.Sort(accessors)
	ctx, cancel := context.WithTimeout(ctx, r.credentialsLimit()/accessorShare)
	defer cancel()
	if err := r.client.putAccessors(ctx, accessors); err != nil {
		r.log.printf("Noting the Vault tokens' accessors failed (%v): "+
			"should this Pod be lost, they end by themselves within %s", err, r.Params.Vault.MaxTTL)
	}
}

func (r *run) fetchOne(ctx context.Context, v job.VaultRequest) error {
	parameters, err := decodeParameters(v)
	if err != nil {
		return err
	}
	asked := r.Clock.Now()
	a, err := r.access.sessions[r.role(v)].Fetch(ctx,
		credentials.Request{Path: v.Path, Write: v.Write, Parameters: parameters})
	if err != nil {
		return named(v, err)
	}
	if err := r.distribute(v, a.Data); err != nil {
		return err
	}
	return r.judgeLease(v, a, asked)
}

// named says whose path it was.
func named(v job.VaultRequest, err error) error {
	if e := (*credentials.Error)(nil); errors.As(err, &e) {
		return &credentials.Error{Class: e.Class, Message: "credential " + v.Name + ": " + e.Message}
	}
	return err
}

// judgeLease refuses what would end before Terraform could be interrupted in time, and says of what ends before the Run
// when that is.
func (r *run) judgeLease(v job.VaultRequest, a credentials.Answer, asked time.Time) error {
	if a.TTL <= 0 {
		r.log.printf("Credential %s: %s", v.Name, v.Path)
		return nil
	}
	r.access.fresh = r.Clock.Now().Add(settlingTime)
	margin := r.Params.Vault.Margin
	switch {
	case a.Renewable:
		r.log.printf("Credential %s: %s, for %s, renewed while Terraform runs", v.Name, v.Path, a.TTL)
	case a.TTL <= margin:
		return &failure{job.CredentialsExpired, fmt.Sprintf("credential %s: the lease of %s is %s long and can't be "+
			"renewed, and Terraform is interrupted %s before such an end: make the lease longer in Vault, or spec.vault.margin "+
			"of the RunnerClass smaller", v.Name, v.Path, a.TTL, margin)}
	default:
		r.log.printf("Credential %s: %s, for %s", v.Name, v.Path, a.TTL)
	}
	if !a.Renewable && a.TTL < r.Params.Vault.MaxTTL {
		r.log.printf("Credential %s can't be renewed: should Terraform still run then, it is interrupted before %s, "+
			"and another Run goes on", v.Name, asked.Add(a.TTL).UTC().Format(time.TimeOnly))
	}
	return nil
}

// keepTokens keeps the tokens of the Pod to itself.
func (r *run) keepTokens() {
	paths := []string{r.Paths.VaultToken}
	for _, t := range r.spec.Tokens {
		paths = append(paths, r.tokenPath(t))
	}
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil { // whoever needs it says that it isn't there
			r.keepSecret(strings.TrimSpace(string(b)))
		}
	}
}

// keep renews everything while Terraform runs.
func (r *run) keep(ctx context.Context) {
	a := &r.access
	a.kept, a.lost = context.WithCancelCause(ctx)
	ctx, a.stop = context.WithCancel(a.kept)
	for _, s := range a.sessions {
		a.keepers.Go(func() {
			if err := s.Keep(ctx, r.Params.Vault.Margin); err != nil {
				a.lost(r.gone(err))
			}
		})
	}
}

// gone is the failure of a Run whose credentials end.
func (r *run) gone(err error) *failure {
	f := &failure{job.CredentialsExpired, err.Error()}
	if e := (*credentials.Error)(nil); errors.As(err, &e) {
		f.class, f.message = e.Class, e.Message
	}
	return f
}

// guarded ends an attempt when the credentials can't be kept; the returned function ends the watch.
func (r *run) guarded(end context.CancelCauseFunc) func() bool {
	kept := r.access.kept
	if kept == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(kept, func() { end(context.Cause(kept)) })
}

// revoke ends what the Run has got, however the Run ended. What can't be revoked in time ends by itself.
func (r *run) revoke(ctx context.Context) {
	if r.access.stop != nil {
		r.access.stop()
		r.access.keepers.Wait()
		r.access.lost(nil)
	}
	ctx, cancel := r.afterStop(ctx, revokeLimit, byRevoke)
	defer cancel()
	var all sync.WaitGroup
	for role, s := range r.access.sessions {
		all.Go(func() {
			if err := s.Revoke(ctx); err != nil {
				r.log.printf("Revoking the Vault token of role %s failed (%v): it ends by itself within %s",
					role, err, r.Params.Vault.MaxTTL)
			}
		})
	}
	all.Wait()
}
