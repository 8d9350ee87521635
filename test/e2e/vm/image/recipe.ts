/**
 * What the guest is made of. The image's key is a hash of this folder, so a change here makes a new image; files of `guest/` are not in the image but
 * shared with the running guest.
 */

/** Debian packages; apt resolves what they depend on. */
export const packages: readonly string[] = [
	['linux-image-amd64'],
	// What a guest needs to stand up.
	['bash', 'busybox-static', 'coreutils', 'findutils', 'gawk', 'grep', 'iproute2', 'kmod', 'mount', 'procps', 'sed', 'udev', 'util-linux'],
	// Initiators and what looks at their devices.
	['lsscsi', 'multipath-tools', 'nvme-cli', 'open-iscsi', 'sg3-utils'],
	// What uses a disk.
	['btrfs-progs', 'e2fsprogs', 'fio', 'postgresql-15', 'xfsprogs'],
].flat();

/**
 * The guest boots one of these. Debian's oldstable one, of whose release the guest is, has no CONFIG_NVME_AUTH and so no DH-HMAC-CHAP; stable's has. Only the kernel is of the other
 * release: its package is found by the metapackage there.
 */
export const kernels = {
	bookworm: { file: /^linux-image-6\.1\./, from: undefined },
	trixie: { file: /^linux-image-6\.12\./, from: { release: 'trixie', metapackage: 'linux-image-amd64' } },
} as const;
export type KernelName = keyof typeof kernels;

/** Packages of the closure that nothing in the guest runs: interpreters of maintainer scripts, the JIT compiler, translations, installers. */
export const unused = new RegExp(
	`^(?:${[
		'adduser',
		'debconf',
		'dpkg',
		'initramfs-tools.*',
		'klibc-utils',
		'libc-l10n',
		'libklibc',
		'libllvm.*',
		'libperl.*',
		'libpython.*',
		'libz3-.*',
		'linux-base',
		'locales',
		'openssl',
		'passwd',
		'perl.*',
		'python.*',
		'ssl-cert',
		'tar',
		'ucf',
	].join('|')})_`,
);

/** Not unpacked from any package. */
export const unusedFiles: readonly string[] = [
	'./usr/share/doc',
	'./usr/share/doc-base',
	'./usr/share/info',
	'./usr/share/lintian',
	'./usr/share/locale',
	'./usr/share/man',
	'./usr/share/perl5',
	'./usr/lib/postgresql/15/lib/bitcode',
	'./usr/lib/postgresql/15/lib/llvmjit*',
	'./lib/udev/hwdb.d',
	'./usr/lib/udev/hwdb.d',
];

/** All that is unpacked from a kernel's package; its modules are compressed in one release and not in the other. */
export const kernelFiles: readonly string[] = [
	'./boot/config-*',
	'./boot/vmlinuz-*',
	'*/lib/modules/*/modules.builtin',
	'*/lib/modules/*/modules.builtin.modinfo',
	'*/lib/modules/*/modules.order',
	...[
		'arch/x86/crypto/*',
		'block/*',
		'crypto/*',
		'drivers/block/virtio_blk.ko*',
		'drivers/char/*',
		'drivers/md/*',
		'drivers/net/net_failover.ko*',
		'drivers/net/virtio_net.ko*',
		'drivers/nvme/*',
		'drivers/scsi/device_handler/*',
		'drivers/scsi/iscsi_tcp.ko*',
		'drivers/scsi/libiscsi*.ko*',
		'drivers/scsi/scsi_*.ko*',
		'drivers/scsi/sd_mod.ko*',
		'drivers/scsi/sg.ko*',
		'drivers/virtio/*',
		'fs/9p/*',
		'fs/btrfs/*',
		'fs/ext4/*',
		'fs/*cache*',
		'fs/jbd2/*',
		'fs/netfs/*',
		'fs/xfs/*',
		'lib/*',
		'net/9p/*',
		'net/core/*',
		'net/sched/sch_netem.ko*',
	].map((path) => `*/lib/modules/*/kernel/${path}`),
];

/** Loaded by the first init, from memory: what it takes to mount the root. */
export const earlyModules: readonly string[] = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

/** The first init. Where it fails it ends, and with it kernel (panic=-1) and qemu (-no-reboot). */
export const earlyInit = `#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t devtmpfs none /dev
for module in ${earlyModules.join(' ')}; do /bin/busybox modprobe $module || echo "no module $module"; done
while [ ! -b /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 -o noatime,nobarrier /dev/vda /new || exit 1
/bin/busybox umount /proc
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
`;

/** Process 1 of the real root: mounts the shared folder and goes on with what lies there. */
export const init = `#!/bin/bash
mount -t proc none /proc
mount -t sysfs none /sys
modprobe 9pnet_virtio
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=131072 lane /lane && exec bash /lane/init.sh
echo 'the shared folder is not there'
`;

/** User and group of PostgreSQL in the guest. */
const postgres = 105;

/** What the packages' own scripts would have made. */
export const files: Readonly<Record<string, string>> = {
	'etc/passwd': `root:x:0:0:root:/:/bin/bash\npostgres:x:${postgres}:${postgres}::/var/lib/postgresql:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n`,
	'etc/group': `root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\ndialout:x:20:\ncdrom:x:24:\ntape:x:26:\naudio:x:29:\nvideo:x:44:\ninput:x:46:\nrender:x:47:\nkvm:x:48:\nsgx:x:49:\nlp:x:7:\npostgres:x:${postgres}:\nnogroup:x:65534:\n`,
	'etc/hostname': 'guest\n',
	'etc/hosts': '127.0.0.1 localhost guest\n',
	'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n',
	'etc/machine-id': '5f1c3a52d8e04b6b9a7e2d4c61b80f39\n',
	'etc/nvme/hostnqn': 'nqn.2014-08.org.nvmexpress:uuid:5f1c3a52-d8e0-4b6b-9a7e-2d4c61b80f39\n',
	'etc/nvme/hostid': '5f1c3a52-d8e0-4b6b-9a7e-2d4c61b80f39\n',
	'etc/iscsi/initiatorname.iscsi': 'InitiatorName=iqn.2026-11.dev.blockport.test:guest\n',
	'etc/fstab': '',
	'etc/ld.so.conf': '/usr/local/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n',
};

/** Empty folders of the root. */
export const folders: readonly string[] = ['dev', 'etc', 'lane', 'mnt', 'proc', 'run', 'sys', 'tmp', 'var/lib/iscsi', 'var/lib/postgresql'];

/** Links of the root, to what they are made of: made by the packages' scripts elsewhere. */
export const links: Readonly<Record<string, string>> = { 'usr/bin/sh': 'bash', 'var/run': '../run' };
