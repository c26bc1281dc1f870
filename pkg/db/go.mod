module github.com/message-dispatcher/dispatch/pkg/db

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/jackc/puddle/v2 v2.2.3
	github.com/message-dispatcher/dispatch/migrations v0.0.0
	github.com/message-dispatcher/dispatch/pkg/crash v0.0.0
	github.com/message-dispatcher/dispatch/pkg/local v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
	github.com/stretchr/testify v1.12.1
	pgregory.net/rapid v1.3.0
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/nyaruka/phonenumbers v1.8.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/migrations => ../../migrations
	github.com/message-dispatcher/dispatch/pkg/crash => ../../pkg/crash
	github.com/message-dispatcher/dispatch/pkg/local => ../../pkg/local
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
)
