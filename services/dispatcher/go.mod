module github.com/message-dispatcher/dispatch/services/dispatcher

go 1.26.0

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/message-dispatcher/dispatch/pkg/cache v0.0.0
	github.com/message-dispatcher/dispatch/pkg/crash v0.0.0
	github.com/message-dispatcher/dispatch/pkg/db v0.0.0
	github.com/message-dispatcher/dispatch/pkg/events v0.0.0
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
	github.com/message-dispatcher/dispatch/pkg/service v0.0.0
	github.com/nats-io/nats.go v1.55.0
	github.com/prometheus/client_golang v1.25.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/zap v1.28.0
)

require (
	github.com/KimMachineGun/automemlimit v1.0.1 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/caarlos0/env/v11 v11.4.2 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/message-dispatcher/dispatch/migrations v0.0.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/nyaruka/phonenumbers v1.8.1 // indirect
	github.com/pbnjay/memory v0.0.0-20210728143218-7b4eea64cf58 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/synadia-io/orbit.go/natsext v0.1.3 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/message-dispatcher/dispatch/migrations => ../../migrations
	github.com/message-dispatcher/dispatch/pkg/cache => ../../pkg/cache
	github.com/message-dispatcher/dispatch/pkg/crash => ../../pkg/crash
	github.com/message-dispatcher/dispatch/pkg/db => ../../pkg/db
	github.com/message-dispatcher/dispatch/pkg/events => ../../pkg/events
	github.com/message-dispatcher/dispatch/pkg/local => ../../pkg/local
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
	github.com/message-dispatcher/dispatch/pkg/service => ../../pkg/service
)
