// Package local exports volumes to a hypervisor on the same host: over NBD, on a unix socket for each attachment that
// only this server's user, and root, can connect to. The socket has the same path after a restart, and QEMU connects to it
// again (reconnect-delay).
package local
