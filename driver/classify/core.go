package classify

import (
	"regexp"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// summary is a row for what core says itself, which is known by how it begins: whatever is quoted further on changes
// nothing but what the row lets it.
type summary struct {
	begins *regexp.Regexp
	// rest is asked first about the text: core passes on what a backend, a registry or git said.
	rest []row
	// class is that of all else.
	class job.Class
	// addressed tells that the row holds for errors with an address too, where the words could be a provider's.
	addressed bool
}

func (s summary) classOf(text string) job.Class {
	if class, ok := first(s.rest, text); ok {
		return class
	}
	return s.class
}

// begins matches the beginning of a text only.
func begins(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`^((` + strings.Join(patterns, `)|(`) + `))`)
}

// core are the summaries of Terraform and OpenTofu, read from the top.
var core = []summary{
	// A crash is the step's own failure: the same again most likely crashes again.
	{addressed: true, begins: begins(
		`Plugin did not respond`, `Plugin error\b`, `Request cancelled\b`,
		`(?s).*(The \S+ plugin crashed|plugin crashed!|panic: .*goroutine \d+ \[)`,
		`(?s).*([Ff]ailed to instantiate provider|Unrecognized remote plugin message)`,
	)},
	// What an author wrote into error_message, or lets a command print, is prose and says nothing about clouds.
	{addressed: true, class: job.ConfigInvalid, begins: begins(
		`(Resource|Action|Module output value|Output value) (pre|post)condition failed`, `Check block assertion failed`,
		`Invalid value for (input )?variable`, `Test assertion failed`,
	)},
	{addressed: true, begins: begins(`local-exec provisioner error`)},

	{class: job.PlanStale, begins: begins(`Saved plan is stale`)},
	{class: job.StateUnavailable, rest: backends, begins: begins(
		`Error (acquiring|releasing) the state lock`, `HTTP remote state`,
		`(?i)error (loading|(un)?lock|refresh|sav|read|gett?|inspect|query|persist|writ)(ing)? .{0,20}(state|workspaces)`,
		`Failed to (get|save|upload|persist|lock|unlock|load|read|refresh|fetch|write|list) .{0,20}(state|workspaces)\b`,
		`Unsupported state file format`, `state snapshot was created by`,
		`Unable to (access|list) objects? .{0,80}in S3 bucket`,
	)},
	{class: job.ConfigInvalid, begins: begins(`Module not found`, `Unresolvable (module|provider) version constraint`)},
	{rest: downloads, begins: begins(
		`Failed to download (module|provider)`, `Error accessing remote module registry`, `Could not download module`,
		`Failed to (query|retrieve|resolve|install|fetch) .{0,24}(package|provider|module)s?\b`,
		`Invalid response from remote`,
		`Failed to find (module|provider) package`, `Invalid provider registry host`,
	)},
	{class: job.ConfigInvalid, begins: begins(
		`(Resource )?[Ii]nstance cannot be destroyed`, `(Moved|Removed) .{1,20} still exists`,
		`Resource (instance )?managed by newer provider version`, `Resource already managed by`,
		`Configuration for import target does not exist`, `Import block target does not exist`,
		`Import to non-existent module`,
		`Cannot import non-existent remote object`, `(Cyclic dependency in|Ambiguous) move statements`,
		`Inconsistent (dependency lock file|provider versions)`, `Provider version doesn't match the lockfile`,
		`Provider missing from lockfile`, `Missing required provider`,
		`Provider requirements cannot be satisfied by locked dependencies`,
		`No (Terraform |OpenTofu )?configuration files`, `Unable to compute static value`,
		`Required plugins are not installed`, `Incompatible provider version`,
		`Unsupported (backend|state store) type`,
	)},
	{class: job.ConfigInvalid, begins: configuration},
}

// backends is what the store of a state says through core. Of Plumbline's own, which is an http backend, each refusal
// is for the state service to explain.
var backends = []row{
	{anyOf(
		`state already locked`, `\bLeaseAlreadyPresent\b`, `state blob is already locked`, `Already locked for workspace`,
		`(?s)acquiring the state lock.*(\b423\b|[Ll]ock [Ii]nfo|already locked)`,
		`(?s)acquiring the state lock.*(ConditionalCheckFailed|PreconditionFailed|conditionNotMet)`,
	), job.StateLocked},
	{anyOf(`HTTP remote state`, `HTTP error: \d`, `(GET|POST|LOCK|UNLOCK) http://127\.0\.0\.1`), job.StateUnavailable},
	{anyOf(
		`which is newer than current`, `file uses format version \d+, which is not supported`,
		`(?i)decryption failed|encountered unencrypted payload|unable to decode encrypted`,
		`\b(PermanentRedirect|AuthorizationHeaderMalformed|ResourceNotFoundException)\b`, `\bNoSuchBucket\b`,
		`(?i)bucket .{0,80}(does not|doesn't) exist`, `\bContainerNotFound\b`,
		`(?i)(container|database|schema) .{0,80}does not exist`, `\bResourceGroupNotFound\b`,
	), job.ConfigInvalid},
	{absentCredentials, job.CredentialsDenied},
	{expired, job.CredentialsExpired},
	{unavailable, job.StateUnavailable},
	{denied, job.CredentialsDenied},
}

// downloads is what registries, mirrors, git and web servers say through core, of modules and providers.
var downloads = []row{
	{anyOf(
		`was not found in any of the search locations`, `does not have a (provider|module) named`,
		`no available releases match the given constraints`, `provider .* was not found`, `no versions? of the provider`,
		`does not have a package available for your current platform`,
		`doesn't match any of the checksums`, `checksum list has |checksums? (mismatch|did not match)`,
		`previously-selected version .* is no longer available`, `does not match configured version constraint`,
		`(?i)repository (not found|.{0,120}not found|.{0,120}does not exist)`,
		`(?i)remote branch .{0,120} not found|couldn't find remote ref|pathspec .{0,120} did not match`,
		`(?i)bad response code: 404|404 not found|error: 404|cannot be found in the module registry`,
		`(?i)host key verification failed`, `(?i)no such file or directory in .*subdir|subdir .* not found`,
	), job.ConfigInvalid},
	{anyOf(
		`(?i)could ?n[o']t resolve (host|proxy)|name or service not known|network is unreachable`,
		`(?i)(failed|could ?n[o']t|unable) to connect|connection (was reset|closed by)|connection to .{1,80} closed`,
		`(?i)early EOF|hung up unexpectedly|RPC failed|unexpected disconnect|operation timed out`,
		`SSL_ERROR_SYSCALL|gnutls_handshake`,
		`(?i)returned error: (429|5\d\d)|bad response code: (429|5\d\d)`,
	), job.Transient},
	{absentCredentials, job.CredentialsDenied},
	{expired, job.CredentialsExpired},
	{unavailable, job.Transient},
	{waited, job.Transient},
	{anyOf(
		`(?i)could not read (username|password)|permission denied \(`, `(?i)returned error: 40[13]|bad response code: 40[13]`,
		`(?i)authentication failed for|access denied\.|rejected the given authentication credentials`,
	), job.CredentialsDenied},
	{denied, job.CredentialsDenied},
	{politely, job.Transient},
	{anyOf(`(?i)could not read from remote repository`), job.CredentialsDenied},
}

// configuration are core's words for a configuration that is wrong, for errors that come without a file and a line.
var configuration = begins(
	`Unsupported (argument|attribute|block type|Terraform Core version|OpenTofu Core version|operator)`,
	`(Missing|Invalid|Extraneous) (required |resource |data |provider |module |variable |output |block )?`+
		`(argument|variable|instance key|key|name|label|source address|character|expression|number literal)`,
	`(Argument|Attribute|Block)( or block)? (definition )?(required|redefined|name required)`,
	`Reference to undeclared`, `Reference to "`, `Undeclared (variable|resource)`,
	`No value for required variable`, `Value for (unconfigurable attribute|undeclared variable)`,
	`Conflicting configuration arguments`,
	`Invalid (reference|resource type|data source|type specification|function argument)`,
	`Invalid (for_each|count) (argument|set)`, `Invalid index`, `Invalid operand`, `Invalid combination of`,
	`Invalid (block|attribute|module|provider (name|source|version|local|alias|instance|requirement)|backend)\b`,
	`Invalid (variable|output|version|import|template|dynamic|target|replace|legacy|force-replace)\b`,
	`Invalid (condition|default value|quoted|multi-line|escape|string|reserved|precondition|postcondition)`,
	`Invalid provider configuration`, `Invalid (required_providers|required_version|depends_on|ignore_changes)`,
	`Incorrect (attribute value type|condition type|key type)`, `Inappropriate value for attribute`,
	`Unsuitable value`, `Inconsistent conditional result types`, `Unexpected attribute`, `Iteration over`,
	`Duplicate (resource|variable|output|module|provider|local|data|required|backend|argument|block|import)`,
	`Insufficient .* blocks`, `Too (many|few) .* blocks`, `Missing .{0,40}(block|newline|item|attribute|value|close)`,
	`(Unclosed|Unterminated|Unbalanced) `, `Unexpected (end of|comma|"|token)`, `Newline expected`,
	`Call to unknown function`, `Error in function call`, `Not enough function arguments`,
	`Too many function arguments`, `Cycle:`, `Self-referential`, `Unreadable module`,
	`Module is incompatible`, `Variables not allowed`, `Function calls not allowed`, `Ambiguous `,
	`Resource instance not found`, `Provider configuration not present`, `Provider type mismatch`,
	`Output refers to sensitive values`, `Failed to read module directory`, `Syntax error|Unsupported file`,
)
