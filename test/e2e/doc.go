// Package pipeline puts the parts together: it provisions what the services
// need, and runs all of them in one process on the embedded default.
package e2e
