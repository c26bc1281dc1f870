// Package settings reads what a program is configured with: environment variables
// and a .env file, into structs whose tags name the variable, its default and its
// help. It reports every invalid setting at once, and describes all of them for
// the documentation.
package settings
