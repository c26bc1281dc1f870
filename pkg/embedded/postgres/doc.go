// Package postgres runs a private PostgreSQL as a child process. The dispatcher uses
// it if no database is configured, and tests use it as a real server.
//
// It listens only on 127.0.0.1 and has no Unix socket, whose path could have at most
// 107 bytes. Clients need a random password (SCRAM), which is kept in the directory.
// Config.Dir contains
//
//	data/         the data directory
//	password      the password of the superuser "dispatch", mode 0600
//	postgres.log  the output of the server
//	lock          held while one of our processes runs a server here
//
// PostgreSQL refuses to run as root. If root starts it, all its programs run as the
// user postgres, else nobody, without supplementary groups.
package postgres
