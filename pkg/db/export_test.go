package db

// ListStatement is the statement of a List for one status.
var ListStatement = listStatement
