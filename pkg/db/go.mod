module github.com/message-dispatcher/dispatch/pkg/db

go 1.26.0

require (
	github.com/message-dispatcher/dispatch/migrations v0.0.0
	github.com/message-dispatcher/dispatch/pkg/local v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
)

require (
	github.com/golang-migrate/migrate/v4 v4.20.1 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/migrations => ../../migrations
	github.com/message-dispatcher/dispatch/pkg/local => ../../pkg/local
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
)
