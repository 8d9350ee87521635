import { expect } from '../../conformance/checks.ts';
import { type Finished } from './guest-shell.ts';
import { files } from './image/recipe.ts';
import { network } from './network.ts';
import type { Stage } from './stage.ts';

/** Where Blockport listens for NVMe/TCP, and for discovery alone: the usual ports, which inside the lane's network nobody else has. */
export const ports = { io: 4420, discovery: 8009 } as const;
export const at = `-t tcp -a ${network.hostAddress} -s ${ports.io}`;

const guestID = files['etc/nvme/hostid']!.trim();
const secondID = '0d1c2b3a-4958-4766-8574-93a2b1c0dfee';
/** The guest's own host, whose NQN stands in /etc/nvme/hostnqn, and another that it may pretend to be. */
export const hosts = {
	guest: { nqn: files['etc/nvme/hostnqn']!.trim(), id: guestID, options: '' },
	second: {
		nqn: `nqn.2014-08.org.nvmexpress:uuid:${secondID}`,
		id: secondID,
		options: `--hostnqn=nqn.2014-08.org.nvmexpress:uuid:${secondID} --hostid=${secondID}`,
	},
} as const;

/** A subsystem name of a scenario's own. */
export function nqn(name: string): string {
	return `nqn.2026-11.dev.blockport.test:${name}`;
}

/** What nvme-cli says on its standard error of a command that went well. */
const success = /^stderr: (?:read|write|compare): Success$/;
const warning = /^stderr: |\bwarning:|unrecognized|deprecated/i;

/** Runs nvme-cli; resolves to what it printed. Rejects when it fails, or when it warns of anything. */
export async function nvme(stage: Stage, args: string): Promise<string> {
	const { output } = await run(stage, args);
	const warnings = output.split('\n').filter((line) => warning.test(line) && !success.test(line));
	expect(warnings.length === 0, `nvme ${args} warns: ${warnings.join('; ')}`);
	return output;
}

/** Runs nvme-cli, which has to fail with these words. */
export async function nvmeFails(stage: Stage, args: string, words: RegExp): Promise<void> {
	const { code, output } = await run(stage, args, 'any');
	expect(code !== 0, `nvme ${args} did not fail`);
	expect(words.test(output), `nvme ${args} failed with: ${output}`);
}

async function run(stage: Stage, args: string, okCodes: readonly number[] | 'any' = [0]): Promise<Finished> {
	// A file and no pipe: its exit code counts.
	const script = `nvme ${args} 2> /tmp/nvme.$$; code=$?; sed 's/^/stderr: /' /tmp/nvme.$$; rm -f /tmp/nvme.$$; exit $code`;
	stage.log(`guest# nvme ${args}`);
	const finished = await stage.run(script, { okCodes: 'any', isQuiet: true });
	for (const line of finished.output.trimEnd().split('\n')) stage.log(`  ${line}`);
	if (okCodes !== 'any') expect(okCodes.includes(finished.code), `exit code ${finished.code} of nvme ${args}: ${finished.output}`);
	return finished;
}

/** On the target: a CLI command, shown in the log. */
export async function onTarget(stage: Stage, ...args: string[]): Promise<string> {
	stage.log(`host# blockport ${args.join(' ')}`);
	const output = (await stage.target.cli(...args)).trim();
	stage.log(`  ${output.replaceAll('\n', '\n  ')}`);
	return output;
}

/** On the target: a subsystem with these volumes as namespaces 1, 2 and on, for these hosts. */
export async function offer(
	stage: Stage,
	name: string,
	volumes: readonly string[] = ['volume0'],
	allowed: readonly string[] = [hosts.guest.nqn],
): Promise<void> {
	await onTarget(stage, 'subsystem', 'create', name);
	// Namespaces get their number by the order.
	for (const volume of volumes) await onTarget(stage, 'subsystem', 'map', name, volume);
	for (const host of allowed) await onTarget(stage, 'subsystem', 'allow', name, host);
}

/** Connects; resolves to the disk of namespace 1, /dev/nvmeXnY. `options` are nvme-cli's. */
export async function connect(stage: Stage, name: string, options = ''): Promise<string> {
	await stage.run('modprobe nvme-tcp', { isQuiet: true });
	await nvme(stage, `connect ${at} -n ${name} ${options}`.trim());
	return await diskOf(stage, name);
}

/** The disk of a namespace, once the kernel has found it and udev has looked at it. */
export async function diskOf(stage: Stage, name: string, nsid = 1): Promise<string> {
	const { output } = await stage.run(
		`for i in $(seq 100); do
			for subsystem in /sys/class/nvme-subsystem/*; do
				[ "$(cat $subsystem/subsysnqn)" = ${name} ] || continue
				for disk in $subsystem/nvme*n*; do
					[ "$(cat $disk/nsid 2>/dev/null)" = ${nsid} ] && [ -b /dev/\${disk##*/} ] && udevadm settle && echo /dev/\${disk##*/} && exit 0
				done
			done
			sleep 0.1
		done
		ls -l /sys/class/nvme-subsystem/*; exit 1`,
		{ isQuiet: true },
	);
	return output.trim();
}

/** The controller of a disk when its subsystem has only one, /dev/nvmeX. */
export function controllerOf(disk: string): string {
	return disk.replace(/n\d+$/, '');
}

/** udev looks at a disk again after its last writer has closed it; a disconnect under its eyes would be an I/O error. */
export async function disconnect(stage: Stage, name: string): Promise<void> {
	await stage.run('udevadm settle', { isQuiet: true });
	const output = await nvme(stage, `disconnect -n ${name}`);
	expect(/disconnected [1-9]\d* controller/.test(output), `nothing was disconnected: ${output}`);
}

/** The one path of a disk: the disk that applications see keeps no statistics. */
export async function pathOf(stage: Stage, disk: string): Promise<string> {
	const [controller, namespace] = disk.replace('/dev/', '').split(/(?=n\d+$)/);
	const { output } = await stage.run(`cd /sys/block && ls -d ${controller}c*${namespace}`, { isQuiet: true });
	return output.trim();
}

/** Raises the size of the largest command, as docs/initiators.md says: of the disk and of its path. */
export async function raiseCommandSize(stage: Stage, disk: string, kibibytes = 4096): Promise<void> {
	const path = await pathOf(stage, disk);
	await stage.run(`for name in ${disk.replace('/dev/', '')} ${path}; do echo ${kibibytes} > /sys/block/$name/queue/max_sectors_kb; done`);
}
