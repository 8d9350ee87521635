import { expect } from '../../../conformance/checks.ts';
import { connect, diskOf as namespaceOf, disconnect, nqn, offer, onTarget } from '../host.ts';
import { diskOf as lunOf, login, logout } from '../initiator.ts';
import { iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('restore');
const subsystem = nqn('restore');
const smallBytes = 128 * mebibyte;
const largeBytes = 512 * mebibyte;

/** How a restore shows over one protocol. */
interface Protocol {
	attach(stage: Stage): Promise<string>;
	detach(stage: Stage): Promise<void>;
	/** Has the kernel look at the size of the disk, where it does not by itself. */
	rescan(stage: Stage): Promise<void>;
	/** Throws when nothing tells the kernel that there is something new on the disk. */
	expectTold(stage: Stage, disk: string): Promise<void>;
	/** Attaches a further volume; resolves to its disk. */
	attachMore(stage: Stage, volume: string, number: number): Promise<string>;
}

const overISCSI: Protocol = {
	attach: async (stage) => await login(stage, target),
	detach: async (stage) => await logout(stage, target),
	async rescan(stage) {
		await stage.run('iscsiadm -m session -R');
	},
	async expectTold(stage, disk) {
		const { output } = await stage.run(`sg_turs -v ${disk}; echo again:; sg_turs -v ${disk}; echo kernel:; dmesg | tail -n 3`);
		const [first, again, kernel] = output.split(/again:|kernel:/);
		const words = /capacity data has changed/i;
		expect(words.test(first!), 'the restore raises no unit attention');
		expect(!words.test(again!), 'the restore raises two unit attentions');
		expect(words.test(kernel!), 'the kernel says nothing of the unit attention');
	},
	async attachMore(stage, volume, number) {
		await onTarget(stage, 'target', 'map', target, volume, '--lun', String(number));
		return await lunOf(stage, target, number);
	},
};

const overNVMe: Protocol = {
	async attach(stage) {
		await offer(stage, subsystem);
		return await connect(stage, subsystem);
	},
	detach: async (stage) => await disconnect(stage, subsystem),
	rescan: async () => undefined,
	async expectTold(stage) {
		await stage.run(
			"for i in $(seq 100); do dmesg | grep -q 'rescanning namespaces' && break; sleep 0.1; done; dmesg | grep 'rescanning namespaces'",
		);
	},
	async attachMore(stage, volume, number) {
		await onTarget(stage, 'subsystem', 'map', subsystem, volume, '--nsid', String(number));
		return await namespaceOf(stage, subsystem, number);
	},
};

/** What was on the disk at one moment: its size, and a file with the sums of all others. */
interface State {
	readonly name: string;
	readonly sizeBytes: number;
}

const states = {
	first: { name: 'first', sizeBytes: smallBytes },
	second: { name: 'second', sizeBytes: largeBytes },
	live: { name: 'live', sizeBytes: largeBytes },
} as const satisfies Record<string, State>;

async function play(stage: Stage, protocol: Protocol): Promise<string> {
	const disk = await protocol.attach(stage);
	await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt`);
	await change(stage, states.first, 'for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/file$i bs=64k count=16 status=none; done');
	await stage.run('umount /mnt');
	await onTarget(stage, 'snapshot', 'create', 'volume0', 'first');

	await onTarget(stage, 'volume', 'resize', 'volume0', '--size', '512M');
	await protocol.rescan(stage);
	await expectSize(stage, disk, largeBytes);
	await stage.run(`mount ${disk} /mnt && resize2fs -f ${disk}`);
	await change(
		stage,
		states.second,
		'rm /mnt/file2; for i in 3 5; do dd if=/dev/urandom of=/mnt/file$i bs=64k count=32 status=none; done; fallocate -l 300M /mnt/space',
	);
	await stage.run('umount /mnt');
	await onTarget(stage, 'snapshot', 'create', 'volume0', 'second');
	await stage.run(`mount ${disk} /mnt`);
	await change(stage, states.live, 'rm /mnt/space; dd if=/dev/urandom of=/mnt/file1 bs=64k count=24 status=none');
	await stage.run('umount /mnt && udevadm settle');

	// Smaller than it was; then what was live, larger again; then another of the same size.
	const timesMs: number[] = [];
	for (const [state, ...options] of [[states.first, '--keep-live-as', 'live'], [states.live], [states.second]] as const) {
		await stage.run('dmesg -C; udevadm settle', { isQuiet: true });
		const startMs = performance.now();
		await onTarget(stage, 'snapshot', 'restore', `volume0@${state.name}`, '--yes', ...options);
		timesMs.push(performance.now() - startMs);
		await protocol.expectTold(stage, disk);
		await protocol.rescan(stage);
		await expectSize(stage, disk, state.sizeBytes);
		await expectState(stage, disk, state);
	}
	const list = await onTarget(stage, 'snapshot', 'list', 'volume0');
	for (const { name } of Object.values(states)) expect(list.includes(`volume0@${name} `), `the snapshot ${name} is gone`);
	for (const [index, state] of Object.values(states).entries()) {
		await onTarget(stage, 'snapshot', 'clone', `volume0@${state.name}`, `of-${state.name}`);
		const clone = await protocol.attachMore(stage, `of-${state.name}`, index + 2);
		await expectSize(stage, clone, state.sizeBytes);
		await expectState(stage, clone, state);
	}
	await protocol.detach(stage);
	return `a restore takes ${timesMs.map((ms) => ms.toFixed(0)).join(', ')} ms with its command`;
}

/** Changes the mounted file system, and remembers in the guest what it looks like then. */
async function change(stage: Stage, { name }: State, script: string): Promise<void> {
	await stage.run(`set -e\n${script}\ncd /mnt && ls > /tmp/${name}.list && sha256sum file* > /tmp/${name}.sum`, { timeoutSeconds: 90 });
}

async function expectSize(stage: Stage, disk: string, sizeBytes: number): Promise<void> {
	const { output } = await stage.run(
		`for i in $(seq 100); do [ $(blockdev --getsize64 ${disk}) = ${sizeBytes} ] && break; sleep 0.1; done; blockdev --getsize64 ${disk}`,
	);
	expect(Number(output) === sizeBytes, `${disk} has ${output.trim()} bytes instead of ${sizeBytes}`);
}

/** Mounts the disk and looks at everything that was there at that moment; checks the file system. */
async function expectState(stage: Stage, disk: string, { name }: State): Promise<void> {
	await stage.run(
		`set -e\nmount ${disk} /mnt\ncd /mnt\nls | busybox diff /tmp/${name}.list -\nsha256sum --quiet -c /tmp/${name}.sum\ncd /\numount /mnt\ne2fsck -fn ${disk}\nudevadm settle`,
		{ timeoutSeconds: 120 },
	);
}

const units = oneUnit('restore', smallBytes);

export const snapshotsRestore: Scenario = {
	name: 'snapshots-restore',
	claim:
		'a volume is restored while its session is up: a unit attention says so, after a rescan the old files and size are there; later snapshots stay',
	units,
	run: async (stage) => await play(stage, overISCSI),
};

export const nvmeSnapshotsRestore: Scenario = {
	name: 'nvme-snapshots-restore',
	claim:
		'a volume is restored while its host is connected: a notice says so, the old files and size are there by themselves; later snapshots stay',
	units,
	run: async (stage) => await play(stage, overNVMe),
};
