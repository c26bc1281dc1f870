// Package settings reads the configuration of a program from environment variables
// and a .env file into structs. Struct tags hold the name of the variable, its
// default and its help text. The package reports all validation errors at once and
// lists all settings for the documentation.
package settings
