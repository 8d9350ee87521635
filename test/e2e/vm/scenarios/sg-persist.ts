import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { initiators, portal } from '../target.ts';

const target = iqn('sg-persist');
/** Hexadecimal, as sg_persist takes them. */
const keys = { a: 'a11ce', b: 'b0b' } as const;

/** SPC-4, the table of commands that are allowed: what a stranger and a registrant may do, 'r' and 'w'; the holder may do both. */
const types = [
	{ type: 1, name: 'Write Exclusive', stranger: 'r-', registrant: 'r-', allHold: false },
	{ type: 3, name: 'Exclusive Access', stranger: '--', registrant: '--', allHold: false },
	{ type: 5, name: 'Write Exclusive, registrants only', stranger: 'r-', registrant: 'rw', allHold: false },
	{ type: 6, name: 'Exclusive Access, registrants only', stranger: '--', registrant: 'rw', allHold: false },
	{ type: 7, name: 'Write Exclusive, all registrants', stranger: 'r-', registrant: 'rw', allHold: true },
	{ type: 8, name: 'Exclusive Access, all registrants', stranger: '--', registrant: 'rw', allHold: true },
] as const;

/** Exit codes of sg3-utils. */
const codes = { good: 0, illegalRequest: 5, unitAttention: 6, conflict: 24 } as const;

/** sg_persist's options of one PERSISTENT RESERVE OUT. */
export async function out(stage: Stage, disk: string, options: string, end: keyof typeof codes = 'good'): Promise<string> {
	return (await stage.run(`sg_persist -n -v --out ${options} ${disk} 2>&1`, { okCodes: [codes[end]] })).output;
}

/** The same, which has to be refused with that sense, as sg3-utils words it. */
async function refused(stage: Stage, disk: string, options: string, sense: string): Promise<void> {
	const said = await out(stage, disk, options, 'illegalRequest');
	expect(said.includes(sense), `${sense} was expected`);
}

/** A unit attention waits, with these words, and is gone then. */
async function told(stage: Stage, disk: string, words: string): Promise<void> {
	const { output } = await stage.run(`sg_turs -v ${disk} 2>&1`, { okCodes: [codes.unitAttention] });
	expect(output.includes(words), `the unit attention ${words} was expected`);
	await stage.run(`sg_turs ${disk}`);
}

/** udev looks at a disk whenever somebody who might have written closes it, and would be told what is meant for the scenario: stopped, it looks later. */
async function udev(stage: Stage, what: 'stop' | 'start'): Promise<void> {
	const script =
		what === 'stop' ? 'udevadm settle && udevadm control --stop-exec-queue' : 'udevadm control --start-exec-queue && udevadm settle';
	await stage.run(script, { isQuiet: true });
}

/** In the guest: `can DISK` prints r and w for a direct read and write that pass, - for one that ends with a reservation conflict (EBADE). */
const can = `can() {
	local read=- write=- said
	said=$(dd if=$1 of=/dev/null bs=4k count=1 iflag=direct status=none 2>&1) && read=r || [[ $said == *'Invalid exchange'* ]] || read="$said"
	said=$(dd if=/dev/zero of=$1 bs=4k count=1 oflag=direct status=none 2>&1) && write=w || [[ $said == *'Invalid exchange'* ]] || write="$said"
	echo $read$write
}
`;

export async function access(stage: Stage, disks: readonly string[], expected: readonly string[]): Promise<void> {
	const { output } = await stage.run(`${can}udevadm settle; for disk in ${disks.join(' ')}; do can $disk; done`, { isQuiet: true });
	const found = output.trim().split('\n').join(' ');
	stage.log(`reads and writes of ${disks.join(' ')}: ${found}`);
	expect(found === expected.join(' '), `${disks.join(' ')} may ${found}, but ${expected.join(' ')} is right`);
}

export async function state(stage: Stage, disk: string, holds: readonly RegExp[], lacks: readonly RegExp[] = []): Promise<void> {
	const { output } = await stage.run(
		`for what in read-keys read-reservation read-full-status; do sg_persist -n --in --$what ${disk} || exit; done`,
	);
	for (const pattern of holds) expect(pattern.test(output), `${pattern.source} was expected`);
	for (const pattern of lacks) expect(!pattern.test(output), `${pattern.source} was not expected`);
}

/** The disk of one initiator's session: udev's name for the path is the same for all. */
async function diskOfInitiator(stage: Stage, name: string): Promise<string> {
	const { output } = await stage.run(
		`for i in $(seq 100); do
			for session in /sys/class/iscsi_session/session*; do
				[ "$(cat $session/initiatorname)" = ${name} ] || continue
				for disk in $session/device/target*/*/block/*; do [ -b /dev/\${disk##*/} ] && udevadm settle && echo /dev/\${disk##*/} && exit; done
			done
			sleep 0.1
		done; exit 1`,
		{ isQuiet: true },
	);
	return output.trim();
}

/** Two sessions of two initiators to one unit; no unit attention waits. */
export async function twoNodes(stage: Stage, target: string): Promise<{ a: string; b: string }> {
	await login(stage, target);
	await stage.run(
		`set -e
		iscsiadm -m iface -I second -o new
		iscsiadm -m iface -I second -o update -n iface.initiatorname -v ${initiators.second}
		iscsiadm -m discovery -t sendtargets -p ${portal} -I second
		iscsiadm -m node -T ${target} -p ${portal} -I second --login`,
	);
	const [a, b] = [await diskOfInitiator(stage, initiators.guest), await diskOfInitiator(stage, initiators.second)];
	expect(a !== b, `two disks were expected: ${a} ${b}`);
	// What a new session is told.
	await stage.run(`for disk in ${a} ${b}; do sg_turs $disk; done; true`, { isQuiet: true });
	return { a, b };
}

export const sgPersist: Scenario = {
	name: 'sg-persist',
	claim:
		'two nodes and sg_persist: each of the six types lets holder, registrant and stranger do what SPC-4 says; refusals, unit attentions and READ FULL STATUS are right',
	units: oneUnit('sg-persist', gibibyte),
	// Reads and writes that a reservation refuses.
	faults: 'medium',
	async run(stage) {
		const { a, b } = await twoNodes(stage, target);
		await access(stage, [a, b], ['rw', 'rw']);
		await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=1`, 'conflict');
		await out(stage, a, `--register --param-sark=${keys.a}`);
		await out(stage, a, `--register --param-rk=${keys.b} --param-sark=${keys.b}`, 'conflict');
		await refused(stage, a, `--reserve --param-rk=${keys.a} --prout-type=2`, 'Invalid field in cdb');
		for (const { type, name, stranger, registrant, allHold } of types) {
			await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=${type}`);
			await access(stage, [a, b], ['rw', stranger]);
			await out(stage, b, `--register --param-sark=${keys.b}`);
			await access(stage, [a, b], ['rw', registrant]);
			await out(stage, b, `--reserve --param-rk=${keys.b} --prout-type=${type}`, allHold ? 'good' : 'conflict');
			await state(stage, b, [
				new RegExp(`2 registered reservation keys follow:\\s+0x${keys.a}\\s+0x${keys.b}`),
				new RegExp(`type: ${name}\\n`),
				new RegExp(`${initiators.guest},i,0x[\\s\\S]*${initiators.second},i,0x|${initiators.second},i,0x[\\s\\S]*${initiators.guest},i,0x`),
			]);
			await out(stage, b, `--register --param-rk=${keys.b}`);
			await refused(
				stage,
				a,
				`--release --param-rk=${keys.a} --prout-type=${type === 1 ? 3 : 1}`,
				'Invalid release of persistent reservation',
			);
			await out(stage, a, `--release --param-rk=${keys.a} --prout-type=${type}`);
			await access(stage, [a, b], ['rw', 'rw']);
		}
		await toldOfChanges(stage, a, b);
		await logout(stage, target);
	},
};

/** RELEASE, PREEMPT and CLEAR, each told to the other node once. */
async function toldOfChanges(stage: Stage, a: string, b: string): Promise<void> {
	await udev(stage, 'stop');
	await out(stage, b, `--register --param-sark=${keys.b}`);
	await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=5`);
	await out(stage, a, `--release --param-rk=${keys.a} --prout-type=5`);
	await told(stage, b, 'Reservations released');
	await out(stage, a, `--reserve --param-rk=${keys.a} --prout-type=1`);
	await out(stage, b, `--preempt --param-rk=${keys.b} --param-sark=dead --prout-type=1`, 'conflict');
	await out(stage, b, `--preempt --param-rk=${keys.b} --param-sark=${keys.a} --prout-type=3`);
	await told(stage, a, 'Registrations preempted');
	await udev(stage, 'start');
	await access(stage, [a, b], ['--', 'rw']);
	await state(stage, b, [/type: Exclusive Access\n/, new RegExp(`0x${keys.b}`)], [new RegExp(`0x${keys.a}`)]);
	await udev(stage, 'stop');
	await out(stage, a, `--register-ignore --param-sark=${keys.a}`);
	await out(stage, a, `--clear --param-rk=${keys.a}`);
	await told(stage, b, 'Reservations preempted');
	await udev(stage, 'start');
	await state(stage, b, [/there are NO registered reservation keys/, /there is NO reservation held/], [/Key=/]);
	await access(stage, [a, b], ['rw', 'rw']);
}
