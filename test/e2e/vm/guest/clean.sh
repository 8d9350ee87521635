# Leaves the guest as it was before a scenario: nothing mounted, nobody logged in or connected, no records. Fails when something holds on.
pkill -x fio
pkill -x pgbench
pkill -QUIT -x postgres && sleep 0.5
for attempt in 1 2 3; do
	gawk '$2 ~ "^/mnt" { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount
	grep -q ' /mnt' /proc/mounts || break
	sleep 1
done
multipath -F 2>/dev/null
iscsiadm -m session >/dev/null 2>&1 && iscsiadm -m node --logoutall=all
iscsiadm -m node >/dev/null 2>&1 && iscsiadm -m node -o delete
for iface in /etc/iscsi/ifaces/*; do [ -f "$iface" ] && rm -f "$iface"; done
[ -e /sys/class/nvme ] && nvme disconnect-all
rm -rf /etc/iscsi/send_targets/* /etc/iscsi/nodes/* /tmp/scenario
if grep ' /mnt' /proc/mounts; then exit 1; fi
if iscsiadm -m session 2>/dev/null; then exit 1; fi
if ls /sys/class/nvme/nvme* 2>/dev/null; then exit 1; fi
exit 0
