module github.com/message-dispatcher/dispatch/pkg/events

go 1.26.0

require (
	github.com/klauspost/compress v1.20.4
	github.com/message-dispatcher/dispatch/pkg/crash v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
	github.com/nats-io/nats.go v1.55.0
	github.com/stretchr/testify v1.12.1
	github.com/synadia-io/orbit.go/natsext v0.1.3
	go.uber.org/zap v1.28.0
)

require (
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/nyaruka/phonenumbers v1.8.1 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/pkg/crash => ../../pkg/crash
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
)
