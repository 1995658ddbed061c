// Package install tests what an operator gets: the package, installed on a Debian that systemd has booted, the service under its own
// unit, and an upgrade while machines write.
package install
