module github.com/message-dispatcher/dispatch/migrations

go 1.26.0
