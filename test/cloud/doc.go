// Package cloud has a machine with Debian, systemd and cloud-init configure itself from volumes: its disk and its seed
// are made through the API, and attached over iSCSI as /export says. It is a package of its own since starting such a machine
// without the processor's help takes a minute, in which others can be tested.
package cloud
