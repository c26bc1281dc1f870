// Package request parses requests: parameters and JSON bodies, except those of
// new messages, which pkg/message parses. A parameter or field that is unknown
// or invalid is an error, never ignored. An error names every invalid one.
package request
