// Package guest boots a small Linux machine for tests: Debian's kernel, its own iSCSI initiator, and the tools
// that administrators use on a disk, emulated by QEMU without any help of the host's processor.
//
// The machine lives in memory, and is there some seconds after Boot. It needs no disk, but BootDisk starts it from
// one as computers start: by firmware, boot sector and loader. What it asks of 127.0.0.1 reaches the host's
// loopback. Tests give it shell scripts and get their output and exit status; a script ends when it ends, and
// nothing waits for a time to pass. Its packages are downloaded by `.ci/setup test`, and nothing of them is
// installed on the host.
package guest
