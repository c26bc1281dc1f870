module github.com/message-dispatcher/dispatch/cmd/dispatch

go 1.26.0

require (
	github.com/message-dispatcher/dispatch/migrations v0.0.0
	github.com/message-dispatcher/dispatch/pipeline v0.0.0
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
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/migrations => ../../migrations
	github.com/message-dispatcher/dispatch/pipeline => ../../pipeline
	github.com/message-dispatcher/dispatch/pkg/cache => ../../pkg/cache
	github.com/message-dispatcher/dispatch/pkg/db => ../../pkg/db
	github.com/message-dispatcher/dispatch/pkg/events => ../../pkg/events
	github.com/message-dispatcher/dispatch/pkg/local => ../../pkg/local
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
	github.com/message-dispatcher/dispatch/pkg/service => ../../pkg/service
	github.com/message-dispatcher/dispatch/services/dispatcher => ../../services/dispatcher
	github.com/message-dispatcher/dispatch/services/ingest => ../../services/ingest
	github.com/message-dispatcher/dispatch/services/sender => ../../services/sender
)
