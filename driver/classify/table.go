package classify

import (
	"regexp"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// row says that a text that the pattern matches is of the class.
type row struct {
	pattern *regexp.Regexp
	class   job.Class
}

// table is read from the top, so the particular stands above the general: a crashed plugin also says "EOF", an expired
// token also says "403", and a forbidden quota is no lack of rights.
var table = []row{
	// A crash is the step's own failure: the same again most likely crashes again.
	{anyOf(
		`Plugin did not respond`,
		`plugin crashed`,
		`^(Error: )?(Plugin error|Request cancelled)\b`,
		`(?s)panic: .*goroutine \d+ \[`,
		`Failed to instantiate provider`,
		`failed to instantiate provider`,
		`Unrecognized remote plugin message`,
	), ""},

	{anyOf(
		`state already locked`,
		`(?s)acquiring the state lock.*(423|[Ll]ock [Ii]nfo|ConditionalCheckFailed|PreconditionFailed|already locked)`,
	), job.StateLocked},
	{anyOf(
		`acquiring the state lock`,
		`releasing the state lock`,
		`(?i)error (loading|refreshing|saving|reading|getting) (the )?state`,
		`Failed to (get|save|upload|persist|lock|unlock|load|read|write) (the )?(existing )?(state|workspaces)`,
		`HTTP remote state`,
	), job.StateUnavailable},

	{anyOf(
		`(?i)\bExpiredToken`,
		`(?i)security token (included in the request )?(is|has) expired`,
		`\bRequestExpired\b`,
		`(?i)\b(token|credentials?|session|assertion) (is|are|has|have|was|were) (already )?expired`,
		`(?i)expired (access |authentication |bearer |session )?(token|credentials)`,
		`(?i)token (is )?expired by`,
		`AADSTS7000(222|24)`,
		`\bExpiredAuthenticationToken\b`,
	), job.CredentialsExpired},

	// A quota of calls per minute is throttling; any other quota needs somebody to raise it.
	{anyOf(
		`\b(user)?[rR]ateLimitExceeded\b`,
		`(?i)quota .{0,80}per (second|minute|user)`,
	), job.Transient},
	{anyOf(
		`(?i)quota ?exceeded|exceeded (the )?quota|exceeded your .{0,40}quota|exceed(s|ing|ed)? .{0,60}\bquota`,
		`(?i)\bquota .{0,80}(exceeded|reached|exhausted)`,
		`\b(Vpc|Address|Instance|Vcpu|Volume|NatGateway|Snapshot|Resource|Account)?LimitExceeded(Exception)?\b`,
		`\b(TooManyBuckets|MaxSpotInstanceCountExceeded)\b`,
		`\bInsufficientQuota\b|\bSkuNotAvailable\b|\bResourceExhausted: Quota`,
		`(?i)maximum number of .{0,60} (has been )?reached`,
	), job.QuotaExceeded},

	{anyOf(
		`(?i)already[ _-]?exists?\b`,
		`needs to be imported into the [Ss]tate`,
		`\w*AlreadyExists(Exception)?\b`,
		`\bBucketAlreadyOwnedByYou\b`,
		`\w+\.Duplicate\b|\bDuplicate(Resource|Request|Entity)\w*Exception\b`,
		`\bResourceExistsException\b|\bEntityExists\w*\b`,
		`(?i)\balreadyExists\b`,
	), job.AlreadyExists},

	{anyOf(
		`(?i)please (retry|try)( the request| again| later)`,
		`(?i)\bretry (again )?later\b|\btry again (later|in )`,
		`\bRetryableError\b|\bAnotherOperationInProgress\b|\bOperationPreempted\b|\bReferencedResourceNotProvisioned\b`,
		`(?i)\bthrottl(ing|ed)|\brate exceeded\b|\brate limit(ed| exceeded)|\bSlowDown\b`,
		`\bRequestLimitExceeded\b|\bTooManyRequests(Exception)?\b|\bProvisionedThroughputExceeded`,
		`\bRequestThrottled(Exception)?\b|\bPriorRequestNotComplete\b`,
		`\bServiceUnavailable\b|\bInternalServerError\b|\bInternalError\b|\bInternalFailure\b`,
		`(?i)(status|code|error|http|response)[a-z ]{0,12}[:= ]{0,3}(429|50[0234])\b`,
		`\b(429 Too Many Requests|50[0234] [A-Z][A-Za-z ]+)`,
		`(?i)(connection (refused|reset by peer|timed out)|broken pipe|no route to host|network is unreachable)`,
		`(?i)TLS handshake (timeout|failure|error)|remote error: tls: internal error|handshake failure`,
		`(?i)\bi/o timeout\b|context deadline exceeded|Client\.Timeout exceeded|timeout awaiting response headers`,
		`(?i)no such host|temporary failure in name resolution|server misbehaving`,
		`\b(unexpected )?EOF$|: (unexpected )?EOF\b|http2: .*(GOAWAY|connection (lost|error))`,
		`(?i)code = (Unavailable|ResourceExhausted|Aborted)\b|the server is currently unable to handle the request`,
		`(?i)etcdserver: (request timed out|leader changed|no leader)|the object has been modified; please apply`,
		`(?i)operation (cannot|could not) be (completed|performed) (now|at this time)`,
	), job.Transient},

	{anyOf(
		`(?i)\b(access ?denied|unauthorized(operation|access)?|authorizationfailed|accessdeniedexception)\b`,
		`\b(InvalidClientTokenId|UnrecognizedClientException|AuthFailure|SignatureDoesNotMatch|InvalidAccessKeyId)\b`,
		`\b(InvalidAuthenticationToken\w*|AuthenticationFailed|LinkedAuthorizationFailed)\b|AADSTS\d+`,
		`(?i)(status|code|error|http|response)[a-z ]{0,12}[:= ]{0,3}(401|403)\b|\b403 Forbidden\b|\b401 Unauthorized\b`,
		`(?i)is forbidden: |\bpermission denied\b.*\b(iam|role|token)|no valid credential sources|NoCredentialProviders`,
		`(?i)the server has asked for the client to provide credentials`,
		`(?i)could not find default credentials|failed to (refresh|retrieve) (cached )?credentials`,
	), job.CredentialsDenied},

	{anyOf(
		`was not found in any of the search locations`,
		`does not have a provider named`,
		`no available releases match the given constraints`,
		`provider .* was not found|no versions? of the provider`,
		`does not have a package available for your current platform`,
		`Inconsistent dependency lock file`,
	), job.ConfigInvalid},

	{summary(
		`Unsupported (argument|attribute|block type|Terraform Core version|OpenTofu Core version|operator)`,
		`(Missing|Invalid|Extraneous) (required |resource |data |provider |module |variable |output |block )?`+
			`(argument|variable|instance key|key|name|label|source address|character|expression|number literal)`,
		`(Argument|Attribute|Block)( or block)? (definition )?(required|redefined|name required)`,
		`Reference to undeclared`, `Reference to "`, `Undeclared (variable|resource)`,
		`No value for required variable`, `Value for unconfigurable attribute`, `Conflicting configuration arguments`,
		`Invalid (value for (input )?variable|reference|resource type|data source|type specification|function argument)`,
		`Invalid (for_each|count) (argument|set)`, `Invalid index`, `Invalid operand`, `Invalid combination of`,
		`Invalid (block|attribute|resource|module|provider|backend|variable|output|version|import|template|dynamic)\b`,
		`Invalid (precondition|postcondition|condition|default value|quoted|multi-line|escape|string|legacy|reserved)`,
		`Invalid provider configuration`, `Invalid (required_providers|required_version|depends_on|ignore_changes)`,
		`Incorrect (attribute value type|condition type|key type)`, `Inappropriate value for attribute`,
		`Unsuitable value`, `Inconsistent conditional result types`, `Unexpected attribute`, `Iteration over`,
		`Duplicate (resource|variable|output|module|provider|local|data|required|backend|argument|block|import)`,
		`Insufficient .* blocks`, `Too (many|few) .* blocks`, `Missing .{0,40}(block|newline|item|attribute|value|close)`,
		`(Unclosed|Unterminated|Unbalanced) `, `Unexpected (end of|comma|"|token)`, `Newline expected`,
		`Call to unknown function`, `Error in function call`, `Not enough function arguments`,
		`Too many function arguments`, `Cycle:`, `Self-referential`, `Unreadable module directory`, `Module not found`,
		`Module is incompatible`, `Variables not allowed`, `Function calls not allowed`, `Ambiguous `,
		`Resource instance not found`, `Provider configuration not present`, `Provider type mismatch`,
		`Output refers to sensitive values`, `Failed to read module directory`,
		`Error parsing|Failed to parse|Syntax error|Unsupported file`,
	), job.ConfigInvalid},
}

func anyOf(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`(` + strings.Join(patterns, `)|(`) + `)`)
}

// summary matches the beginning of a text only: Terraform's own errors are known by their summary, and a provider may
// quote anything further on.
func summary(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`^(Error: )?((` + strings.Join(patterns, `)|(`) + `))`)
}
