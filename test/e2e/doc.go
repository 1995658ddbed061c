// Package e2e asks the real server, over its own port, what its users ask.
package e2e
