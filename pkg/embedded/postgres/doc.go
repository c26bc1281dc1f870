// Package postgres runs a private PostgreSQL as a child process: the embedded default of the
// dispatcher, and a real server for tests.
//
// It listens on 127.0.0.1 alone, has no Unix socket (whose path may be at most 107 bytes long) and
// wants a random password (SCRAM) that is kept in the directory. Under Config.Dir lie
//
//	data/         the data directory
//	password      the password of the superuser "dispatch", mode 0600
//	postgres.log  what the server says
//	lock          held while a server of ours runs here
//
// Started by root, everything that PostgreSQL does runs as the user postgres, else nobody, without
// supplementary groups, since PostgreSQL refuses root.
package postgres
