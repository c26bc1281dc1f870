module github.com/message-dispatcher/dispatch/pipeline

go 1.26.0

require (
	github.com/message-dispatcher/dispatch/migrations v0.0.0
	github.com/message-dispatcher/dispatch/pkg/cache v0.0.0
	github.com/message-dispatcher/dispatch/pkg/db v0.0.0
	github.com/message-dispatcher/dispatch/pkg/events v0.0.0
	github.com/message-dispatcher/dispatch/pkg/local v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
	github.com/message-dispatcher/dispatch/pkg/service v0.0.0
	github.com/message-dispatcher/dispatch/services/dispatcher v0.0.0
	github.com/message-dispatcher/dispatch/services/ingest v0.0.0
	github.com/message-dispatcher/dispatch/services/sender v0.0.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/compose-spec/compose-go/v2 v2.16.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/shirou/gopsutil/v4 v4.26.10 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/migrations => ../migrations
	github.com/message-dispatcher/dispatch/pkg/cache => ../pkg/cache
	github.com/message-dispatcher/dispatch/pkg/db => ../pkg/db
	github.com/message-dispatcher/dispatch/pkg/events => ../pkg/events
	github.com/message-dispatcher/dispatch/pkg/local => ../pkg/local
	github.com/message-dispatcher/dispatch/pkg/message => ../pkg/message
	github.com/message-dispatcher/dispatch/pkg/service => ../pkg/service
	github.com/message-dispatcher/dispatch/services/dispatcher => ../services/dispatcher
	github.com/message-dispatcher/dispatch/services/ingest => ../services/ingest
	github.com/message-dispatcher/dispatch/services/sender => ../services/sender
)
