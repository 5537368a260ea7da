package v1alpha1

// Condition types. A Workspace's follow kstatus: exactly the ones that hold are True, and Ready always speaks.
const (
	// ConditionReady is True when the generation in its observedGeneration was applied and the outputs stand in their
	// Secret, and says otherwise what stands in the way.
	ConditionReady = "Ready"
	// ConditionReconciling is True while a Run goes on, is waited for or will be retried by itself.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing will happen until a person changes something or asks for a rerun.
	ConditionStalled = "Stalled"
	// ConditionDrifted is True while a difference was found and not corrected.
	ConditionDrifted = "Drifted"
	// ConditionChecksPassed is False while check blocks of the configuration fail, and True when those that it has, or
	// had, pass. It is absent from a Workspace that has none.
	ConditionChecksPassed = "ChecksPassed"
	// ConditionSucceeded is a Run's one condition.
	ConditionSucceeded = "Succeeded"
)

// Reasons beside the classes of driver/job, which are reasons too.
const (
	// ReasonPending: the Run waits for another Run of its Workspace, or for something its inputs name.
	ReasonPending = "Pending"
	// ReasonRefused: the API server, an admission policy or a webhook refuses what the Run's launch needs, the Run itself,
	// or the outputs' Secret; it is tried again. A quota's refusal has the class QuotaExceeded for its reason.
	ReasonRefused = "Refused"
	// ReasonLaunching: the Pod is created, and has not been running for a while yet.
	ReasonLaunching = "Launching"
	// ReasonUnschedulable: no node takes the Pod; it is waited for as long as it takes.
	ReasonUnschedulable = "Unschedulable"
	// ReasonRunning: the Pod has been running for a while.
	ReasonRunning = "Running"
	// ReasonCanceling: the Pod was asked to end.
	ReasonCanceling = "Canceling"
	// ReasonPodGone: the Pod is gone and left no result, and its node may still be ending it.
	ReasonPodGone = "PodGone"
	// ReasonProgressing: the Workspace has a Run that goes on or is about to be made.
	ReasonProgressing = "Progressing"
	// ReasonRetrying: the last Run failed and another follows by itself.
	ReasonRetrying = "Retrying"
	// ReasonInputsMissing: something that the Workspace names does not exist yet.
	ReasonInputsMissing = "InputsMissing"
	// ReasonRunnerClassMissing: no RunnerClass of that name, or no default one.
	ReasonRunnerClassMissing = "RunnerClassMissing"
	// ReasonSuspended: spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonDestroying: the Workspace is being deleted and its infrastructure destroyed.
	ReasonDestroying = "Destroying"
	// ReasonDestroyed: a Run that a person made has destroyed everything, and nothing was applied since.
	ReasonDestroyed = "Destroyed"
	// ReasonInSync: the last comparison found no difference that was not corrected.
	ReasonInSync = "InSync"
	// ReasonDriftDetected: the last comparison found differences and was to report them only.
	ReasonDriftDetected = "DriftDetected"
	// ReasonChecksPassed: no check block failed in the last comparison.
	ReasonChecksPassed = "ChecksPassed"
	// ReasonChecksFailed: check blocks failed in the last comparison.
	ReasonChecksFailed = "ChecksFailed"
	// ReasonNameConflict: an object of the wanted name exists and is not Plumbline's.
	ReasonNameConflict = "NameConflict"
	// ReasonCredentialsRevoked: the credentials that a lost Run left in Vault are revoked.
	ReasonCredentialsRevoked = "CredentialsRevoked"
)
