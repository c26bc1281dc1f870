package failpoint

// Point names a gap between two durable steps. The first word says whose
// process passes it, publish is every service's.
type Point string

// Taking messages in.
const (
	// IngestTaken lies between the moment a message is taken in hand and the
	// commit of its row and outbox row.
	IngestTaken Point = "ingest.taken"
	// IngestStored lies between the commit of a group of messages and
	// everything that follows from it: its announcement and its answers.
	IngestStored Point = "ingest.stored"
	// IngestSplit lies between the commits of the two halves of a group that
	// failed as a whole.
	IngestSplit Point = "ingest.split"
	// IngestUnanswered lies between the commit of everything that a request
	// holds and its answer.
	IngestUnanswered Point = "ingest.unanswered"
	// IngestLinesStored lies between the commit of some lines of an NDJSON
	// stream and the lines that answer them.
	IngestLinesStored Point = "ingest.lines-stored"
	// IngestAnnouncing lies between the commit of an outbox row and the
	// publication of its events.
	IngestAnnouncing Point = "ingest.announcing"
	// IngestAnnounced lies between the acknowledgement of a row's events and
	// the deletion of the row.
	IngestAnnounced Point = "ingest.announced"
)

// Taking messages in over NATS.
const (
	// IntakeFetched lies between the delivery of intake entries and the commit
	// of their messages.
	IntakeFetched Point = "ingest.intake-fetched"
	// IntakeStored lies between the commit of a batch of the intake and the
	// acknowledgement of its entries.
	IntakeStored Point = "ingest.intake-stored"
	// IntakePartAcked lies between the acknowledgements of two entries of a
	// batch.
	IntakePartAcked Point = "ingest.intake-part-acked"
	// IntakeRejecting lies between the judgement that an entry is wrong and its
	// publication on REJECTED.
	IntakeRejecting Point = "ingest.intake-rejecting"
	// IntakeRejected lies between the publication of an entry on REJECTED and
	// its acknowledgement.
	IntakeRejected Point = "ingest.intake-rejected"
)

// Calling messages back, and bringing them back.
const (
	// CancelStored lies between the commit of a cancel and the publication of
	// its event.
	CancelStored Point = "ingest.cancel-stored"
	// CancelUnparking lies between the commit of a cancel and the purge of the
	// message's schedule.
	CancelUnparking Point = "ingest.cancel-unparking"
	// CancelUnparked lies between the purge of a cancelled message's schedule
	// and whatever of the announcement and the answer is not done by then.
	CancelUnparked Point = "ingest.cancel-unparked"
	// RetryStored lies between the commit of a user's retry and its answer.
	RetryStored Point = "ingest.retry-stored"
	// RetryBatchStored lies between the commit of a batch of a bulk retry and
	// the next batch, or the answer.
	RetryBatchStored Point = "ingest.retry-batch-stored"
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
	// everything that follows from it: the events of those that were not final,
	// and the purge of their schedules.
	EraseStored Point = "ingest.erase-stored"
	// EraseRewritten lies between the commit that takes a recipient out of
	// events not yet published and the search through what was rejected.
	EraseRewritten Point = "ingest.erase-rewritten"
)

// Publishing, by any service.
const (
	// PublishPartSent lies between the publication of two entries of an outbox
	// row.
	PublishPartSent Point = "publish.part-sent"
	// PublishPartAcked lies between the acknowledgements of two entries of an
	// outbox row.
	PublishPartAcked Point = "publish.part-acked"
)

// Emitting ids.
const (
	// TickWoken lies between the hint that something may be due, which wakes a
	// dispatcher, and the claim of it.
	TickWoken Point = "dispatcher.tick-woken"
	// TickClaimed lies between the commit of a claim and the publication of its
	// ids.
	TickClaimed Point = "dispatcher.tick-claimed"
	// TickPublished lies between the last acknowledgement of a claim's
	// publication and the transaction that ends the claim and sets the next
	// tick.
	TickPublished Point = "dispatcher.tick-published"
	// RelayTaken lies between the locking of abandoned events and their
	// publication.
	RelayTaken Point = "dispatcher.relay-taken"
	// RelayLooked lies between the look which ids of an abandoned claim are
	// published and the commit of a new claim number for the others.
	RelayLooked Point = "dispatcher.relay-looked"
	// RelayRaised lies between the commit of a new claim number and the
	// publication of ids under it.
	RelayRaised Point = "dispatcher.relay-raised"
	// RelayPublished lies between the publication of abandoned outbox rows and
	// the transaction that deletes them.
	RelayPublished Point = "dispatcher.relay-published"
)

// Looking after what is late or lost.
const (
	// SweepAsked lies between the question which of the ids without a lease are
	// in the stream and the renewal of their leases.
	SweepAsked Point = "dispatcher.sweep-asked"
	// SweepRenewed lies between the renewal of the leases of ids that are in the
	// stream and the judgement on those that are not.
	SweepRenewed Point = "dispatcher.sweep-renewed"
	// SweepFound lies between the judgement that ids are lost and the tick that
	// claims them anew.
	SweepFound Point = "dispatcher.sweep-found"
	// MovesCommitted lies between the commit of what a sweep expired, or gave
	// up, and the publication of its events.
	MovesCommitted Point = "dispatcher.moves-committed"
	// MovesPublished lies between the publication of a sweep's events and the
	// deletion of their outbox row.
	MovesPublished Point = "dispatcher.moves-published"
	// RetentionStep lies between the commit that deletes what is past its
	// retention and the next step of the walk.
	RetentionStep Point = "dispatcher.retention-step"
	// CountsFolded lies between the commit that sums up the counts and the next
	// turn of the upkeep.
	CountsFolded Point = "dispatcher.counts-folded"
)

// Recording outcomes, and copying them to Redis.
const (
	// RecorderTaken lies between the delivery of outcomes and the commit of
	// their rows.
	RecorderTaken Point = "dispatcher.recorder-taken"
	// RecorderStored lies between the commit of outcomes and the note for the
	// copy in Redis.
	RecorderStored Point = "dispatcher.recorder-stored"
	// RecorderNoted lies between that note and the acknowledgement of the
	// outcomes' events.
	RecorderNoted Point = "dispatcher.recorder-noted"
	// RecorderPartAcked lies between the acknowledgements of two events of a
	// batch.
	RecorderPartAcked Point = "dispatcher.recorder-part-acked"
	// CopierRead lies between the reading of states from Postgres and their
	// copy in Redis.
	CopierRead Point = "dispatcher.copier-read"
	// CopierCopied lies between the copy of states, with the marker that says
	// how far it is, and the acknowledgement of the notes.
	CopierCopied Point = "dispatcher.copier-copied"
	// CopierPartAcked lies between the acknowledgements of two notes of a
	// batch.
	CopierPartAcked Point = "dispatcher.copier-part-acked"
	// CopierForgotten lies between the deletion of the copier's consumer and its
	// making anew, from the beginning of CHANGES.
	CopierForgotten Point = "dispatcher.copier-forgotten"
	// CopierRestarted lies between the making of the copier's consumer and the
	// marker of the new copy.
	CopierRestarted Point = "dispatcher.copier-restarted"
)

// Bringing back what JetStream knows of commits that Postgres has lost.
const (
	// RepairTaken lies between the moment that a dispatcher takes the repair and
	// the first outcome that it records again.
	RepairTaken Point = "dispatcher.repair-taken"
	// RepairRead lies between the commit of outcomes and cancels that EVENTS
	// tells of and the search for copies on the work queue.
	RepairRead Point = "dispatcher.repair-read"
	// RepairRestored lies between the commit of the claims of those copies and
	// the commit that lets emissions go on.
	RepairRestored Point = "dispatcher.repair-restored"
)

// Changing the pace.
const (
	// PaceChanged lies between the commit of a start or a stop and the relay of
	// what was claimed before, or the answer.
	PaceChanged Point = "dispatcher.pace-changed"
	// PaceStopped lies between the publication of what was claimed before a
	// stop and the stop's answer.
	PaceStopped Point = "dispatcher.pace-stopped"
	// PaceConfigured lies between the commit of another interval or batch size
	// and its answer.
	PaceConfigured Point = "dispatcher.pace-configured"
)

// Delivering.
const (
	// SenderPulled lies between the delivery of an id and the look at its row.
	SenderPulled Point = "sender.pulled"
	// SenderLoaded lies between the look at an id's row and its attempt.
	SenderLoaded Point = "sender.loaded"
	// SenderPosting lies between the last look at a message and the POST.
	SenderPosting Point = "sender.posting"
	// SenderResponding lies between the header of the webhook's response and
	// its body.
	SenderResponding Point = "sender.responding"
	// SenderPosted lies between the webhook's response and the publication of
	// the status event.
	SenderPosted Point = "sender.posted"
	// SenderHolding lies between a publication of the status event that failed
	// and the next try.
	SenderHolding Point = "sender.holding"
	// SenderExpired lies between the look that finds a message expired and the
	// publication of the event that says so.
	SenderExpired Point = "sender.expired"
	// SenderTold lies between the acknowledgement of the status event and the
	// end of the delivery: its ack, its nak, or the schedule of a retry.
	SenderTold Point = "sender.told"
	// SenderParked lies between the acknowledgement of a retry's schedule and
	// the ack of the delivery.
	SenderParked Point = "sender.parked"
	// SenderEnded lies between the moment that an ack or a nak is written and
	// the moment that the server has it.
	SenderEnded Point = "sender.ended"
	// SenderDiscarding lies between the judgement that a copy is worth nothing
	// and its ack.
	SenderDiscarding Point = "sender.discarding"
	// SenderDraining lies between the signal to stop and the return of what is
	// not begun.
	SenderDraining Point = "sender.draining"
	// SenderGivenBack lies between the returns of two copies.
	SenderGivenBack Point = "sender.given-back"
	// SenderDrained lies between the end of the last request and the moment
	// that the server has every ack and nak.
	SenderDrained Point = "sender.drained"
)

// Provisioning.
const (
	// ProvisionStep lies between the statements of a step of the schema and the
	// commit of its version.
	ProvisionStep Point = "provision.step"
	// ProvisionMigrated lies between the last step of the schema and the
	// schedule.
	ProvisionMigrated Point = "provision.migrated"
	// ProvisionScheduled lies between the schedule and the streams.
	ProvisionScheduled Point = "provision.scheduled"
	// ProvisionStream lies between the making of a stream and that of the next
	// one, or of the consumers.
	ProvisionStream Point = "provision.stream"
	// ProvisionConsumer lies between the making of two consumers.
	ProvisionConsumer Point = "provision.consumer"
)

// Importing from another system.
const (
	// ImportStored lies between the commit of a page of an import and the
	// reading of the next one.
	ImportStored Point = "import.stored"
)
