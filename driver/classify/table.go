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

func anyOf(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`(` + strings.Join(patterns, `)|(`) + `)`)
}

// providers is read from the top, so the particular stands above the general: a lack of credentials is told as a
// network that doesn't answer, an expired token also says "403", and a forbidden quota is no lack of rights.
var providers = []row{
	{absentCredentials, job.CredentialsDenied},
	{expired, job.CredentialsExpired},
	// What a policy of the platform refuses is refused again, until somebody changes the one or the other.
	{anyOf(
		`violates PodSecurity`, `unable to validate against any (pod security policy|security context constraint)`,
		`(maxim|minim)um \S+ usage per (Container|Pod|PersistentVolumeClaim)|limit to request ratio per`,
		`failed quota: .*must specify`, `ValidatingAdmissionPolicy .*denied request`,
		`admission webhook .*denied the request`,
		`\bRequestDisallowedBy[A-Z]\w+|was disallowed by (\w+ )?policy`,
		`[Cc]onstraint constraints/\S+ (was )?violated|violates constraint '?constraints/`,
		`[Cc]onstraint violation: constraints/|prohibited by organization's policy`,
		`\b[A-Z]\w+(\.\S+)? "[^"]+" is invalid: `,
		`\bScopeLocked\b|\bMissingSubscriptionRegistration\b`,
		`no configuration has been provided, try setting`, `Get "http://localhost(:80)?/api`,
	), job.ConfigInvalid},
	// What an API refuses for how it is written. A bare 400 is not enough: it is said of what isn't there yet as well.
	{anyOf(
		`failed to satisfy constraint: `, `\bMalformed\w+: Syntax error`, `\bInvalid\w+\.(Malformed|Range)\b`,
		`\bInvalidAMIID\.`, `\b(LocationNotAvailableForResourceType|InvalidResource(Location|Name)|InvalidRequestContent)\b`,
		`\bNetcfg(Subnet|Invalid)\w+`, `\b422 Validation Failed \[\{.*Code:(invalid|missing_field)\b`,
		`values don't meet the specifications of the schema`, `execution error at \(\S+:\d+:\d+\)`,
		`error validating data: ValidationError\(`, `YAML parse error on `, `\bInvalidTemplate\b`,
	), job.ConfigInvalid},
	// A quota of calls per minute is throttling; any other quota needs somebody to raise it.
	{anyOf(
		`(?i)\brate_?limit_?exceeded\b|userRateLimitExceeded`,
		`(?i)quota .{0,80}per (second|minute|100 seconds|user)`, `(?i)rate limit quota`,
		`(?i)\brate[- ]?limit(ed|ing|s)?( has been| was)? (exceeded|reached|hit|retries)|\brate[- ]limited\b`,
		`(?i)(exceeded|hit|reached) .{0,40}rate limit|\brate exceeded\b|(is|are|was|been|being) throttled`,
		`\bThrottl(ing|ed)|RequestsThrottled\b|Throttling\w*Exception`,
		`(?i)\bAPI rate limit\b|rate reset in|abuse detection mechanism|retry quota exceeded|ProvisionedThroughputExceeded`,
		`\bRequestLimitExceeded\b|\bTooManyRequests(Exception)?\b|\bRequestThrottled\w*\b|\bSlowDown\b`,
	), job.Transient},
	{anyOf(
		`(?i)quota ?exceeded|exceeded (the )?quota|exceeded your .{0,40}quota|exceed(s|ing|ed)? .{0,60}\bquota`,
		`(?i)\bquota .{0,80}(exceeded|reached|exhausted)`,
		`\b([A-Z][A-Za-z]*)?LimitExceeded(Exception|Fault)?\b|\b[A-Z]\w+LimitReached\b`,
		`\b(IpAddressGenerationFailure|InsufficientFreeAddresses\w*)\b`,
		`\b(TooManyBuckets|MaxSpotInstanceCountExceeded|CodeStorageExceeded\w*)\b`,
		`(?i)\b(storage|count|size|account|service|resource|shard|stream)s? limit exceeded`,

		`\b\w*(Insufficient|Exceeds\w*)\w*Quota\b|\b[Oo]ver(Quota|Limit)\b`,
		`\bSkuNotAvailable\b|\b(Zonal|Overconstrained\w*)?AllocationFailed\b|\bInsufficient\w*Capacity\b`,
		`\bResourceExhausted desc = .*[Qq]uota|\bResourceExhausted: Quota|\bZONE_RESOURCE_POOL_EXHAUSTED|\bstockout\b`,
		`(?i)maximum (allowed )?number of .{0,60} (has been )?(reached|exceeded)`,
		`(?i)(exceed(s|ed|ing)?|reached) (the|your) (allowed|maximum)( allowed)? number of`,
		`(?i)\bquota of 0\b|no more (ip )?addresses available`,
		`(?i)no valid host was found|not have (enough|sufficient) .{0,60}(capacity|resources|quota|hosts)`,
		`(?i)insufficient (\w+ )?(capacity|resources|quota|disk space|vcpu)`,
	), job.QuotaExceeded},
	// What somebody else's change, or one of a moment ago, stands in the way of.
	{anyOf(
		`(?i)(another|other|an|incompatible) (\w+ )?(operation|task|action|update|change)\b.{0,60}\b(in progress|running)`,
		`(?i)running incompatible operation|operation .{0,20}already in progress`,
		`\b\w+InProgress(Exception|Fault)?: |OperationInProgress\b`,
		`(By|DueTo)AnotherOperation\b|BeingDeleted\b|\bis in (de)?provisioning state\b`,
		`\b(OperationPreempted|ReferencedResourceNotProvisioned|RetryableError)\b`,
		`\b(PriorRequestNotComplete|OperationAborted|Concurrent(Modification|Update)\w*)\b`,
		`(?i)concurrent(ly)? (policy changes|updated|modif|update)|modified concurrently`,
		`the object has been modified|Operation cannot be fulfilled on |could not serialize access`,
		`(?i)an in[- ]progress .{0,60}operation|\bhas (an )?(update|upgrade|operation) \S+ in progress`,
		`\bis (currently )?being (created|updated|modified|deleted)\b|\bis currently (creating|updating|upgrading|deleting) `,
		`while it is in task_state `,
		`\b(Invalid|Incorrect)\w*State(Fault|Exception)?: |\bRequestConflict\b|is immutable and cannot be updated`,
		`cannot be assumed by |(?i:unable to assume (the )?([\w-]+ ){0,2}role)|authorized to assume the provided role`,
		`\bPrincipalNotFound\b`, `\bresourceNotReady\b`,
		`(?i)invalid principal in policy|iamInstanceProfile\.\w+ is invalid|service account \S+@\S+ does not exist`,
		`because it is being terminated|not yet ready to handle request`, `failed (calling|to call) (the )?webhook`,
	), job.Transient},
	{anyOf(
		`(?i)already[ _]?exists?\b|\bexists already\b`,
		`needs to be imported into the [Ss]tate`, `exists and cannot be imported into the current release`,
		`\w*AlreadyExists(Exception|Fault)?\b`, `you already own it|\bBucketAlreadyOwnedByYou\b`,
		`\w+\.Duplicate\b|\bDuplicate[A-Z]\w+|(?i:\bduplicate (entry|key value))`,
		`\b(Resource|Entity|Assignment|\w+Assignment)Exists\w*\b`,
		`\w+AlreadyTaken\b|(?i:is already taken|has already been taken)`,
		`cannot re-use a name|path is already in use|existing mount at `,
		`with this name is already |(?i:\bname .{0,60}already in use)`,
	), job.AlreadyExists},
	{unavailable, job.Transient},
	{waited, job.TimedOut},
	{anyOf(`(open|mkdir|stat|exec|read|write|rename|create|unlink|chmod) \S+: permission denied`), ""}, // on the runner
	{denied, job.CredentialsDenied},
	{politely, job.Transient},
	// What providers check about their arguments before they ask anybody.
	{anyOf(
		`^expected \S+ (to be|to match|not to|length)|^invalid value for \S+ \(|^"[^"]+" (must|cannot|expects) `,
		`is an invalid ARN|is a required provider property`,
		`(?i)^(conflicting configuration arguments|invalid combination of arguments|missing required argument)`,
		`^Invalid (Attribute|Argument|String|Number|List|Map|Set)( Value| Combination| Length| Type| Match)`,
		`^Missing (Attribute|Required|Provider) \w*`, `(?s)^\S+: conflicts with `, `one of .{1,200} must be specified`,
	), job.ConfigInvalid},
}

// absentCredentials are the words for credentials that nobody gave: a search for them ends at the metadata service of a
// machine that has none, so that they come with words of the network.
var absentCredentials = anyOf(
	`no EC2 IMDS role found|ec2imds|169\.254\.169\.254`,
	`could not find default credentials|metadata\.google\.internal|GCE metadata .* not defined`,
	`(?i)\baz login\b|launching Azure CLI|exec: "az"`,
	`(?i)no vault token (set|found)|missing client token`, `\bNoCredentialProviders\b|(?i:unable to locate credentials)`,
	`(?i)no valid credentials? (found|provided|configured)`,
	`failed to get shared config profile|error getting credentials using |Missing input for argument \[`,
)

var expired = anyOf(
	`(?i)\bExpiredToken`, `\bRequestExpired\b`, `\bExpiredAuthenticationToken\b`,
	`(?i)security token (included in the request )?(is|has) expired`,
	`(?i)\b(token|credentials?|session|assertion|secret) (is|are|has|have|was|were) (already )?expired`,
	`(?i)expired (access |authentication |bearer |session )?(token|credentials)`,
	`(?i)token (is )?expired\b`,
	`AADSTS7000(222|24)|AADSTS(700082|70043|50173)`,
)

// unavailable are the words for what most likely is there again in a moment.
var unavailable = anyOf(
	`\b(ServiceUnavailable|InternalServerError|InternalError|InternalFailure|backendError|RequestTimeout)\b`,
	`(?i)(status|code|error|http|response)[a-z ]{0,12}[:= ]{0,3}['"]?(408|429|50[0234]|52[0-7])\b`,
	`\b(GET|HEAD|POST|PUT|PATCH|DELETE) "?https?://\S+ (408|429|50[0234]|52[0-7])\b`,
	`\b(429 Too Many Requests|50[0234] (Internal|Bad|Service|Gateway|Server|Error))`, `(?i)\bgot (429|50[0234]) instead`,
	`(?i)(connection (refused|reset by peer|timed out)|broken pipe|no route to host|network is unreachable)`,
	`(?i)TLS handshake (timeout|failure|error)|remote error: tls: internal error|handshake failure`,
	`(?i)\bi/o timeout\b|Client\.Timeout exceeded|timeout awaiting response headers`,
	`(?i)no such host|temporary failure in name resolution|server misbehaving`,
	`\b(unexpected )?EOF$|: (unexpected )?EOF\b|http2: .*(GOAWAY|connection (lost|error))`,
	`(?i)code = (Unavailable|ResourceExhausted|Aborted)\b|the server is currently unable to handle the request`,
	`(?i)etcdserver: (request timed out|leader changed|no leader|too many requests)`,
	`(?i)unable to return a response in the time allotted`,
	`invalid character '<' looking for|upstream connect error|stream error: .*(INTERNAL_ERROR|REFUSED_STREAM|CANCEL)`,
	`(?i)Vault is sealed|required index state not present|local node not active`,
	`(?i)too many (clients already|connections)|connection slots are reserved`,
	`(?i)the database system is (starting up|shutting down|in recovery)|deadlock detected`,
	`canceling statement due to (lock timeout|conflict)|terminating connection due to`,
	`(?i)operation (cannot|could not) be (completed|performed) (now|at this time)`,
)

// waited are the words of a provider that waited for something in vain, often for many minutes.
var waited = anyOf(
	`(?i)context deadline exceeded|code = DeadlineExceeded\b`,
	`(?i)(timeout|timed out) (while )?waiting (for|on)`, `^Waiting for rollout to finish`,
)

var denied = anyOf(
	`(?i)\b(access ?denied|authorizationfailed|\w*accessdeniedexception)\b|\bunauthorized([:,. ]|$)`,
	`\bUnauthorized(Operation|Access|Exception)?\b`,
	`\b(InvalidClientTokenId|UnrecognizedClientException|AuthFailure|SignatureDoesNotMatch|InvalidAccessKeyId)\b`,
	`\b(InvalidAuthenticationToken\w*|AuthenticationFailed|LinkedAuthorizationFailed|InvalidIdentityToken)\b|AADSTS\d+`,
	`\b(AuthorizationPermissionMismatch|PolicyNotAuthorized|NoPermission|NotAuthenticated)\b`,
	`\b(invalid_grant|invalid_client|unauthorized_client)\b|code = (Unauthenticated|PermissionDenied)\b`,
	`(?i)(status|code|error|http|response)[a-z ]{0,12}[:= ]{0,3}['"]?(401|403)\b|\b403 Forbidden\b|\b401 Unauthorized\b`,
	`\bgot 40[13] instead|: 40[13] [A-Z\[]`,
	`(?i)is forbidden: user "|cannot (get|list|watch|create|update|patch|delete|use) resource "`,
	`(?i)no valid credential sources`,
	`(?i)\bpermission denied\b|permission to perform this operation was denied|not authorized to|must have admin rights`,
	`(?i)must be (owner|(a )?member|superuser)|is not permitted to log in|ManagedIdentity(Authorizer|Credential)`,
	`(?i)the server has asked for the client to provide credentials|session is not authenticated`,
	`(?i)getting credentials: exec: |request you have made requires authentication`,
	`(?i)failed to (refresh|retrieve) (cached )?credentials|cannot assume iam role`,
	`(?i)password authentication failed|no pg_hba\.conf entry|incorrect user ?name or password|bad credentials`,
	`(?i)\bauthentication (failed|error)|\binvalid (login|password|credentials?|api[ _-]?(key|token)|access token)\b`,
	`(?i)invalid role or secret id|invalid request headers|unauthorized to access|unable to authenticate`,
	`(?m): Forbidden$`,
)

// politely is what is said of troubles of every kind, so that it counts last.
var politely = anyOf(
	`(?i)please (retry|try again|try later|try the request)`,
	`(?i)\bretry (again )?later\b|\btry again (later|in )`,
)
