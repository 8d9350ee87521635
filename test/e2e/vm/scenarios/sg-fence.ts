import { expect } from '../../../conformance/checks.ts';
import { fioCommand } from '../fio.ts';
import { logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { access, out, state, twoNodes } from './sg-persist.ts';

/** Hexadecimal, as sg_persist takes them. */
const keys = { a: 'fe0ce1', b: 'fe0ce2' } as const;
const fenceTarget = iqn('sg-fence');
const persistTarget = iqn('sg-persist-kill');

/** Both are registered, and hold the unit together as a cluster does: Write Exclusive, registrants only. */
async function cluster(stage: Stage, a: string, b: string, options = ''): Promise<void> {
	await out(stage, a, `--register --param-sark=${keys.a} ${options}`);
	await out(stage, b, `--register --param-sark=${keys.b} ${options}`);
	await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=5`);
	await access(stage, [a, b], ['rw', 'rw']);
}

export const sgFence: Scenario = {
	name: 'sg-fence',
	claim:
		'a node is fenced amid its writes: PREEMPT AND ABORT ends its queue, what it sends then meets reservation conflicts, the other goes on; registered again it works',
	units: oneUnit('sg-fence', gibibyte),
	// The fenced node's writes.
	faults: 'medium',
	async run(stage) {
		const { a, b } = await twoNodes(stage, fenceTarget);
		await cluster(stage, a, b);
		const options = { rw: 'randwrite', bs: '64k', offset: '512m', size: '64m', time_based: 1, runtime: 60 };
		const victim = stage.run(fioCommand({ name: 'fenced', disk: b, phase: 'write', options }), { okCodes: 'any' });
		victim.catch(() => undefined);
		await stage.run(
			`stat=/sys/block/${b.replace('/dev/', '')}/stat; for i in $(seq 300); do [ $(gawk '{ print $5 }' $stat) -gt 200 ] && exit; sleep 0.1; done; exit 1`,
		);
		const begunMs = performance.now();
		await out(stage, a, `--preempt-abort --param-rk=${keys.a} --param-sark=${keys.b} --prout-type=5`);
		const { output, code } = await victim;
		const seconds = (performance.now() - begunMs) / 1000;
		expect(code !== 0 || /err=\s*(?!0)\d/.test(output), `fio went on after the fence: ${output}`);
		expect(/err=(?:52|EBADE)|Invalid exchange/.test(output), `fio ended for another reason than a reservation: ${output}`);
		expect(seconds < 30, `the fenced node's writes ended ${seconds.toFixed(1)} s after the fence`);
		await access(stage, [a, b], ['rw', 'r-']);
		await state(stage, a, [new RegExp(`0x${keys.a}`), /type: Write Exclusive, registrants only\n/], [new RegExp(`0x${keys.b}`)]);
		// What was on its way when the node was fenced does not come later.
		await stage.run(
			`set -e
			dd if=/dev/zero of=${a} bs=1M seek=512 count=64 oflag=direct status=none
			sleep 2
			[ $(dd if=${a} bs=1M skip=512 count=64 iflag=direct status=none | tr -d '\\0' | wc -c) = 0 ]`,
		);
		await out(stage, b, `--register-ignore --param-sark=${keys.b}`);
		await access(stage, [a, b], ['rw', 'rw']);
		await out(stage, a, `--clear --param-rk=${keys.a}`);
		await logout(stage, fenceTarget);
		return `fenced in ${seconds.toFixed(1)} s`;
	},
};

export const sgPersistPowerLoss: Scenario = {
	name: 'sg-persist-kill',
	claim:
		'with APTPL registrations and the reservation are there after kill -9 of the target, without it they are not; a stranger is kept out from the first command on',
	units: oneUnit('sg-persist-kill', gibibyte),
	faults: 'medium',
	async run(stage) {
		const { a, b } = await twoNodes(stage, persistTarget);
		await out(stage, a, `--register --param-sark=${keys.a} --param-aptpl`);
		await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=3`);
		await access(stage, [a, b], ['rw', '--']);
		const before = await generation(stage, a);
		await restart(stage, [a, b]);
		await access(stage, [a, b], ['rw', '--']);
		await state(stage, a, [new RegExp(`1 registered reservation key follows:\\s+0x${keys.a}`), /type: Exclusive Access\n/]);
		const after = await generation(stage, a);
		expect(after === 0 && before > 0, `PRGENERATION is 0 after power on (SPC-4): ${before}, then ${after}`);
		await out(stage, b, `--register --param-sark=${keys.b} --param-aptpl`);
		await out(stage, b, `--preempt --param-rk=${keys.b} --param-sark=${keys.a} --prout-type=1`);
		await restart(stage, [a, b]);
		await access(stage, [a, b], ['r-', 'rw']);
		// Without APTPL nothing of it outlives the target.
		await out(stage, b, `--register --param-rk=${keys.b} --param-sark=${keys.a}`);
		await restart(stage, [a, b]);
		await access(stage, [a, b], ['rw', 'rw']);
		await state(stage, a, [/there are NO registered reservation keys/, /there is NO reservation held/]);
		await logout(stage, persistTarget);
	},
};

async function generation(stage: Stage, disk: string): Promise<number> {
	const { output } = await stage.run(`sg_persist -n --in --read-keys ${disk}`);
	return Number(/PR generation=(0x[0-9a-f]+)/i.exec(output)?.[1]);
}

/** kill -9, and until the sessions have recovered. */
async function restart(stage: Stage, disks: readonly string[]): Promise<void> {
	stage.log('host# kill -9 of the target');
	await stage.target.kill();
	await stage.target.start();
	await stage.run(
		`for disk in ${disks.join(' ')}; do for i in $(seq 300); do sg_turs $disk 2>/dev/null && continue 2; sleep 0.1; done; exit 1; done`,
		{ timeoutSeconds: 90 },
	);
}
