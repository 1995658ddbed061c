// Package browser has the tests that need a real browser: what web pages of strangers can make it do to a server on
// loopback that asks nobody who he is.
package browser
