#!/bin/busybox sh
# The guest's first and, unless it boots further from a disk, only process of its own: it loads the modules, brings up
# the network, and then runs the commands that come through the virtio ports. The ports' protocol is told in port.go.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /run/lock/iscsi /run/job
while read -r module; do insmod "$module"; done </etc/modules

argument() { tr ' ' '\n' </proc/cmdline | sed -n "s/^guest.$1=//p"; }

# With a root file system of its own the machine goes on from there.
root=$(argument root)
if [ -n "$root" ]; then
	until [ -b "$root" ]; do sleep 0.05; done
	mount -t ext4 "$root" /mnt
	umount /proc /sys /dev /run /tmp
	exec switch_root /mnt /sbin/init
fi

echo "InitiatorName=$(argument initiator)" >/etc/iscsi/initiatorname.iscsi

# What is asked of 127.0.0.1 goes to the host's loopback, so that a portal has the same address here and there.
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add 127.0.0.1/32 via 10.0.2.2 dev eth0 src 10.0.2.15

iscsid -f >/run/iscsid.log 2>&1 &

# serve runs the commands of one port, one after the other.
serve() {
	exec <>"$1" >&0
	echo ready
	job=/run/job/${1##*/}
	while read -r line; do
		echo "$line" | base64 -d >"$job.sh"
		sh "$job.sh" </dev/null >"$job.out" 2>&1
		echo "$? $(wc -c <"$job.out")"
		cat "$job.out"
	done
}
for port in /sys/class/virtio-ports/*; do
	serve "/dev/${port##*/}" &
done
while :; do wait; sleep 1; done
