import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Blockport } from '../test/conformance/servers/blockport.ts';
import { freePort } from '../test/conformance/servers/server-process.ts';
import { foreignInitiatorName } from '../test/conformance/servers/target-server.ts';
import { iscsiTarget, subsystem } from './contender.ts';
import { hostNQN } from './nvme-lane.ts';

/** How a volume is reached over one protocol. */
export interface Access {
	readonly protocol: 'iscsi' | 'nvme';
	readonly port: number;
	readonly target: string;
	/** LUN or namespace identifier of each volume. */
	readonly units: readonly number[];
}

export interface RigSettings {
	/** Where the data lies: its file system and disk are part of what is measured. */
	folder: string;
	volumes: number;
	volumeBytes: number;
	/** NVMe hosts that may connect. */
	hosts?: number;
	cpu?: number | undefined;
	/** The folder has its volumes already. */
	isConfigured?: boolean;
	/** Another launcher than bin/blockport. */
	launcher?: string;
}

/** Blockport with volumes that iSCSI and NVMe both export. */
export interface Rig {
	readonly server: Blockport;
	readonly iscsi: Access;
	readonly nvme: Access;
	/** As the admin API shows them, in their order. */
	volumes(): Promise<ShownVolume[]>;
	/** Of a volume. */
	directory(uuid: string): string;
}

export interface ShownVolume {
	uuid: string;
	name: string;
	statistics: Readonly<Record<string, number>>;
}

/** Server and client have a CPU each where there are two, unless somebody wants otherwise. */
export function cpusFor(isPinned: boolean): { server: number | undefined; client: number | undefined } {
	return isPinned && availableParallelism() > 1 ? { server: 0, client: 1 } : { server: undefined, client: undefined };
}

export async function openRig({ folder, volumes, volumeBytes, hosts = 1, cpu, isConfigured = false, launcher }: RigSettings): Promise<Rig> {
	const nvmePort = await freePort();
	const server = new Blockport({
		folder: join(folder, 'data'),
		units: Array.from({ length: volumes }, (_none, lun) => ({ target: iscsiTarget, lun, sizeBytes: volumeBytes })),
		initiators: [foreignInitiatorName],
		cpu,
		isConfigured,
		serveArguments: ['--nvme', `127.0.0.1:${nvmePort}`, '--nvme-discovery', '127.0.0.1:0', '--log-level', 'warn'],
		...(launcher === undefined ? {} : { launcher }),
	});
	await mkdir(server.folder, { recursive: true });
	await server.start();
	const nsids = Array.from({ length: volumes }, (_none, index) => index + 1);
	if (!isConfigured) await exportOverNvme(server, nsids, hosts);
	return {
		server,
		iscsi: { protocol: 'iscsi', port: server.port, target: iscsiTarget, units: nsids.map((nsid) => nsid - 1) },
		nvme: { protocol: 'nvme', port: nvmePort, target: subsystem, units: nsids },
		volumes: async () => {
			const { volumes } = JSON.parse(await server.cli('volume', 'list', '--json')) as { volumes: ShownVolume[] };
			return volumes;
		},
		directory: (uuid) => join(server.folder, 'volumes', uuid),
	};
}

async function exportOverNvme(server: Blockport, nsids: readonly number[], hosts: number): Promise<void> {
	await server.cli('subsystem', 'create', subsystem);
	for (let host = 0; host < hosts; host++) await server.cli('subsystem', 'allow', subsystem, hostNQN(host));
	for (const nsid of nsids) await server.cli('subsystem', 'map', subsystem, `volume${nsid - 1}`, '--nsid', String(nsid));
}

/** A folder for a lane, in the system's temporary one unless told otherwise. It goes when the process does, by a signal too. */
export async function temporaryFolder(under?: string): Promise<string> {
	for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
	const folder = await mkdtemp(join(under ?? tmpdir(), 'blockport-bench-'));
	process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
	return folder;
}

/** A rig for as long as the body takes. */
export async function inRig<Result>(
	settings: Omit<RigSettings, 'folder'> & { under?: string | undefined },
	body: (rig: Rig) => Promise<Result>,
): Promise<Result> {
	const rig = await openRig({ ...settings, folder: await temporaryFolder(settings.under) });
	try {
		return await body(rig);
	} finally {
		await rig.server.kill();
	}
}
