package failpoint

// Point names a gap between two durable steps. The first word is the service
// that passes it; "publish" is passed by every service.
type Point string

// Accepting messages over HTTP.
const (
	// IngestReceived lies between the arrival of a message at ingest and the
	// commit of its row and outbox row.
	IngestReceived Point = "ingest.received"
	// IngestStored lies between the commit of a group of messages and
	// everything that follows: the publishing of their events, and the responses.
	IngestStored Point = "ingest.stored"
	// IngestSplit lies between the commits of the two halves of a group that
	// failed as a whole.
	IngestSplit Point = "ingest.split"
	// IngestUnanswered lies between the commit of everything in a request and
	// its response.
	IngestUnanswered Point = "ingest.unanswered"
	// IngestLinesStored lies between the commit of some lines of an NDJSON
	// stream and their results in the response.
	IngestLinesStored Point = "ingest.lines-stored"
	// IngestPublishing lies between the commit of an outbox row and the
	// publishing of its events.
	IngestPublishing Point = "ingest.publishing"
	// IngestPublished lies between the ack of a row's events and the deletion of
	// the row.
	IngestPublished Point = "ingest.published"
)

// Accepting messages over NATS.
const (
	// IntakeFetched lies between the delivery of intake entries and the commit
	// of their messages.
	IntakeFetched Point = "ingest.intake-fetched"
	// IntakeStored lies between the commit of a batch of the intake and the acks
	// of its entries.
	IntakeStored Point = "ingest.intake-stored"
	// IntakePartAcked lies between the acks of two entries of a batch.
	IntakePartAcked Point = "ingest.intake-part-acked"
	// IntakeRejecting lies between the decision that an entry is invalid and its
	// publishing on REJECTED.
	IntakeRejecting Point = "ingest.intake-rejecting"
	// IntakeRejected lies between the publishing of an entry on REJECTED and its
	// ack.
	IntakeRejected Point = "ingest.intake-rejected"
)

// Cancelling and redriving messages.
const (
	// CancelStored lies between the commit of a cancel and the publishing of its
	// event.
	CancelStored Point = "ingest.cancel-stored"
	// CancelPurging lies between the commit of a cancel and the purge of the
	// message's scheduled retry.
	CancelPurging Point = "ingest.cancel-purging"
	// CancelPurged lies between the purge of a cancelled message's scheduled
	// retry and the remaining steps: its event and the response.
	CancelPurged Point = "ingest.cancel-purged"
	// RedriveStored lies between the commit of a redrive and its response.
	RedriveStored Point = "ingest.redrive-stored"
	// RedriveBatchStored lies between the commit of a batch of a bulk redrive
	// and the next batch, or the response.
	RedriveBatchStored Point = "ingest.redrive-batch-stored"
)

// Erasing a recipient.
const (
	// EraseIntake lies between the removal of a recipient's entries from the
	// intake stream and the first batch of messages.
	EraseIntake Point = "ingest.erase-intake"
	// EraseForgotten lies between the removal of a batch's states from Redis and
	// the commit that deletes its messages.
	EraseForgotten Point = "ingest.erase-forgotten"
	// EraseStored lies between the commit that deletes a batch of messages and
	// everything that follows: the events of messages that were not final, and
	// the purge of their scheduled retries.
	EraseStored Point = "ingest.erase-stored"
	// EraseRewritten lies between the commit that removes a recipient from
	// events that are not yet published and the search in the rejected intake.
	EraseRewritten Point = "ingest.erase-rewritten"
)

// Publishing, by any service.
const (
	// PublishPartSent lies between the publishing of two messages of an outbox
	// row.
	PublishPartSent Point = "publish.part-sent"
	// PublishPartAcked lies between the acks of two messages of an outbox row.
	PublishPartAcked Point = "publish.part-acked"
)

// Emitting ids.
const (
	// TickWoken lies between the wake-up of a dispatcher and its claim.
	TickWoken Point = "dispatcher.tick-woken"
	// TickClaimed lies between the commit of a claim and the publishing of its
	// ids.
	TickClaimed Point = "dispatcher.tick-claimed"
	// TickPublished lies between the last ack of a claim's ids and the
	// transaction that ends the claim and sets the next tick.
	TickPublished Point = "dispatcher.tick-published"
	// RelayLocked lies between the locking of abandoned events and their
	// publishing.
	RelayLocked Point = "dispatcher.relay-locked"
	// RelayChecked lies between the check which ids of an abandoned claim are
	// published and the commit of a new claim number for the others.
	RelayChecked Point = "dispatcher.relay-checked"
	// RelayRaised lies between the commit of a new claim number and the
	// publishing of ids under it.
	RelayRaised Point = "dispatcher.relay-raised"
	// RelayPublished lies between the publishing of abandoned outbox rows and
	// the transaction that deletes them.
	RelayPublished Point = "dispatcher.relay-published"
)

// Maintenance.
const (
	// SweepAsked lies between the check which ids with an expired lease are in
	// the stream and the renewal of their leases.
	SweepAsked Point = "dispatcher.sweep-asked"
	// SweepRenewed lies between the renewal of the leases of ids that are in the
	// stream and the decision about those that are not.
	SweepRenewed Point = "dispatcher.sweep-renewed"
	// SweepFound lies between the decision that ids are lost and the tick that
	// claims them again.
	SweepFound Point = "dispatcher.sweep-found"
	// TransitionsCommitted lies between the commit of the messages that a sweep
	// expired or gave up and the publishing of their events.
	TransitionsCommitted Point = "dispatcher.transitions-committed"
	// TransitionsPublished lies between the publishing of a sweep's events and
	// the deletion of their outbox row.
	TransitionsPublished Point = "dispatcher.transitions-published"
	// RetentionStep lies between the commit that deletes what is past its
	// retention and the next step of the walk.
	RetentionStep Point = "dispatcher.retention-step"
	// CountsFolded lies between the commit that folds the counts and the next
	// round.
	CountsFolded Point = "dispatcher.counts-folded"
)

// Recording outcomes, and projecting them to Redis.
const (
	// RecorderFetched lies between the delivery of outcomes and the commit of
	// their rows.
	RecorderFetched Point = "dispatcher.recorder-fetched"
	// RecorderStored lies between the commit of outcomes and their change
	// notification.
	RecorderStored Point = "dispatcher.recorder-stored"
	// RecorderNotified lies between that change notification and the acks of the
	// outcomes' events.
	RecorderNotified Point = "dispatcher.recorder-notified"
	// RecorderPartAcked lies between the acks of two events of a batch.
	RecorderPartAcked Point = "dispatcher.recorder-part-acked"
	// ProjectorRead lies between the reading of states from Postgres and their
	// writing to Redis.
	ProjectorRead Point = "dispatcher.projector-read"
	// ProjectorCopied lies between the writing of states, with the marker of the
	// position, and the acks of the change notifications.
	ProjectorCopied Point = "dispatcher.projector-copied"
	// ProjectorPartAcked lies between the acks of two change notifications of a
	// batch.
	ProjectorPartAcked Point = "dispatcher.projector-part-acked"
	// ProjectorReset lies between the deletion of the projector's consumer and
	// its creation at the start of CHANGES.
	ProjectorReset Point = "dispatcher.projector-reset"
	// ProjectorRestarted lies between the creation of the projector's consumer
	// and the marker of the new copy.
	ProjectorRestarted Point = "dispatcher.projector-restarted"
)

// Restoring commits that Postgres lost and JetStream knows.
const (
	// RepairStarted lies between the moment that a dispatcher takes the repair
	// and the first outcome that it records again.
	RepairStarted Point = "dispatcher.repair-started"
	// RepairRead lies between the commit of outcomes and cancels from EVENTS and
	// the search for deliveries on the work queue.
	RepairRead Point = "dispatcher.repair-read"
	// RepairRestored lies between the commit of the claims of those deliveries
	// and the commit that lets emissions continue.
	RepairRestored Point = "dispatcher.repair-restored"
)

// Changing the pace.
const (
	// PaceChanged lies between the commit of a start or a stop and the relay of
	// earlier claims, or the response.
	PaceChanged Point = "dispatcher.pace-changed"
	// PaceStopped lies between the publishing of what was claimed before a stop
	// and the stop's response.
	PaceStopped Point = "dispatcher.pace-stopped"
	// PaceConfigured lies between the commit of a new interval or batch size and
	// its response.
	PaceConfigured Point = "dispatcher.pace-configured"
)

// Sending.
const (
	// SenderPulled lies between the delivery of an id and the loading of its row.
	SenderPulled Point = "sender.pulled"
	// SenderLoaded lies between the loading of an id's row and its attempt.
	SenderLoaded Point = "sender.loaded"
	// SenderPosting lies between the last check of a message and the POST.
	SenderPosting Point = "sender.posting"
	// SenderResponding lies between the header of the webhook's response and its
	// body.
	SenderResponding Point = "sender.responding"
	// SenderPosted lies between the webhook's response and the publishing of the
	// outcome.
	SenderPosted Point = "sender.posted"
	// SenderPublishFailed lies between a failed publishing of the outcome and the
	// next try.
	SenderPublishFailed Point = "sender.publish-failed"
	// SenderExpired lies between the check that finds a message expired and the
	// publishing of that outcome.
	SenderExpired Point = "sender.expired"
	// SenderPublished lies between the ack of the outcome's event and the end of
	// the delivery: its ack, its nak, or the schedule of a retry.
	SenderPublished Point = "sender.published"
	// SenderScheduled lies between the ack of a retry's schedule and the ack of
	// the delivery.
	SenderScheduled Point = "sender.scheduled"
	// SenderEnded lies between the moment that an ack or a nak is written and
	// the moment that the server has it.
	SenderEnded Point = "sender.ended"
	// SenderDropping lies between the decision to drop a delivery and its ack.
	SenderDropping Point = "sender.dropping"
	// SenderDraining lies between the signal to stop and the return of
	// deliveries that are not started.
	SenderDraining Point = "sender.draining"
	// SenderReturned lies between the returns of two deliveries.
	SenderReturned Point = "sender.returned"
	// SenderDrained lies between the end of the last request and the moment that
	// the server has every ack and nak.
	SenderDrained Point = "sender.drained"
)

// Provisioning.
const (
	// ProvisionStep lies between the statements of a migration and the commit of
	// its version.
	ProvisionStep Point = "provision.step"
	// ProvisionMigrated lies between the last migration and the schedule.
	ProvisionMigrated Point = "provision.migrated"
	// ProvisionScheduled lies between the schedule and the streams.
	ProvisionScheduled Point = "provision.scheduled"
	// ProvisionStream lies between the creation of a stream and that of the next
	// one, or of the consumers.
	ProvisionStream Point = "provision.stream"
	// ProvisionConsumer lies between the creation of two consumers.
	ProvisionConsumer Point = "provision.consumer"
)

// Importing from another system.
const (
	// ImportStored lies between the commit of a page of an import and the
	// reading of the next one.
	ImportStored Point = "import.stored"
)
