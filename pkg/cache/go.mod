module github.com/message-dispatcher/dispatch/pkg/cache

go 1.26.0

require (
	github.com/message-dispatcher/dispatch/pkg/local v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/nyaruka/phonenumbers v1.8.1 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message

replace github.com/message-dispatcher/dispatch/pkg/local => ../../pkg/local
