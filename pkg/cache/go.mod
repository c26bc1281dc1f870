module github.com/message-dispatcher/dispatch/pkg/cache

go 1.26.0

require (
	github.com/message-dispatcher/dispatch/pkg/message v0.0.0
)

replace (
	github.com/message-dispatcher/dispatch/pkg/message => ../../pkg/message
)
