module github.com/message-dispatcher/dispatch/pkg/crash

go 1.26.0
