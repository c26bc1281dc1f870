module github.com/message-dispatcher/dispatch/pkg/message

go 1.26.0

