# The guest's process 1 (docs: a small own init instead of systemd). What it needs of the host comes by the kernel's command line.
export PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C PGHOST=/run/postgresql
mount -t tmpfs none /run
mount -t tmpfs none /tmp
chmod 1777 /tmp
mkdir -p /dev/pts /dev/shm /run/lock/iscsi /run/postgresql
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
chmod 1777 /dev/shm
ln -sf /proc/self/fd /dev/fd
chown -R postgres:postgres /run/postgresql /var/lib/postgresql
busybox hostname guest
/lib/systemd/systemd-udevd --daemon
modprobe -a virtio_console virtio_net iscsi_tcp sd_mod sg virtio_rng
udevadm trigger --type=all
udevadm settle

ip link set lo up
for word in $(cat /proc/cmdline); do
	case $word in
	guest.address=*)
		# NAME-OF-INTERFACE-BY-ORDER,ADDRESS/BITS
		index=0
		for device in $(ls /sys/class/net | grep -v '^lo$' | sort); do
			[ "$index" = "${word#*=}" ] && break
			address=$(echo "${word#*=}" | cut -d, -f$((index + 1)))
			[ -n "$address" ] && ip address add "$address" dev "$device" && ip link set "$device" up
			index=$((index + 1))
		done
		;;
	esac
done
iscsid

# One shell at each port: a line is a script in base64; its output goes back, then its exit code behind a mark.
for port in /dev/virtio-ports/shell.*; do
	bash /lane/shell.sh "$port" </dev/null >/dev/null 2>&1 &
done
echo 'guest ready'
# Process 1 collects what has lost its parent, and never ends.
while :; do
	wait -n 2>/dev/null
	sleep 1
done
