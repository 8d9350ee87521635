import type { Stage } from './stage.ts';
import { portal } from './target.ts';

export interface LoginSettings {
	/** Node record settings made before the login, as `iscsiadm -o update -n NAME -v VALUE` takes them. */
	readonly settings?: Readonly<Record<string, string>>;
	/** An iface record that exists (iscsiadm -m iface). */
	readonly iface?: string;
	readonly lun?: number;
	/** Another portal than Blockport's. */
	readonly at?: string;
}

/** Discovers, logs in and waits for udev; resolves to the disk, /dev/sdX. */
export async function login(
	stage: Stage,
	target: string,
	{ settings = {}, iface, lun = 0, at = portal }: LoginSettings = {},
): Promise<string> {
	const which = `-m node -T ${target} -p ${at}${iface === undefined ? '' : ` -I ${iface}`}`;
	const lines = [
		`iscsiadm -m discovery -t sendtargets -p ${at}${iface === undefined ? '' : ` -I ${iface}`}`,
		...Object.entries(settings).map(([name, value]) => `iscsiadm ${which} -o update -n ${name} -v ${value}`),
		`iscsiadm ${which} --login`,
		'udevadm settle',
	];
	await stage.run(`set -e\n${lines.join('\n')}`);
	return await diskOf(stage, target, lun, at);
}

/** A disk that is logged in, by udev's name for its path. */
export async function diskOf(stage: Stage, target: string, lun = 0, at = portal): Promise<string> {
	const path = `/dev/disk/by-path/ip-${at}-iscsi-${target}-lun-${lun}`;
	const { output } = await stage.run(`for i in $(seq 50); do [ -b ${path} ] && break; sleep 0.1; done; readlink -e ${path}`, {
		isQuiet: true,
	});
	return output.trim();
}

/** udev looks at a disk again after its last writer has closed it; a logout under its eyes would be an I/O error. */
export async function logout(stage: Stage, target: string, at = portal): Promise<void> {
	await stage.run(`udevadm settle; iscsiadm -m node -T ${target} -p ${at} --logout`);
}

/** Raises the size of the largest command, as docs/initiators.md says. */
export async function raiseCommandSize(stage: Stage, disk: string, kibibytes = 4096): Promise<void> {
	await stage.run(`echo ${kibibytes} > /sys/block/${disk.replace('/dev/', '')}/queue/max_sectors_kb`);
}

/** The initiator's own counters of a session (iscsiadm -m session -s), summed over sessions: `r2t_pdus`, `dataout_pdus` and others. */
export async function counters(stage: Stage): Promise<Readonly<Record<string, number>>> {
	const { output } = await stage.run('iscsiadm -m session -s');
	const found: Record<string, number> = {};
	for (const [, name, value] of output.matchAll(/^\s*(\w+): (\d+)$/gm)) found[name!] = (found[name!] ?? 0) + Number(value);
	return found;
}
