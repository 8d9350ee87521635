import { Blockport } from '../test/conformance/servers/blockport.ts';
import { freePort } from '../test/conformance/servers/server-process.ts';
import { foreignInitiatorName, type ServerSettings, type TargetServer } from '../test/conformance/servers/target-server.ts';
import { Tgtd } from '../test/conformance/servers/tgtd.ts';
import { defaultHostNQN } from '../test/nvme-host/association.ts';
import { BareServer } from './bare-server.ts';
import type { Protocol } from './load-shape.ts';
import type { Row } from './rows.ts';

/** One server under one protocol: a column of the comparison. */
export interface Contender {
	readonly name: ContenderName;
	readonly protocol: Protocol;
	readonly server: TargetServer;
	/** Of the protocol. */
	readonly port: () => number;
	/** Target name or subsystem NQN, and LUN or namespace identifier. */
	readonly target: string;
	readonly unit: number;
	/** Starts the server, with its unit on offer. */
	start(): Promise<void>;
}

/** `tgtd` has the keys that Blockport offers too, `tgtd-defaults` its own: PDUs of 8 KiB, InitialR2T=Yes. */
export const contenderNames = ['tgtd', 'tgtd-defaults', 'blockport', 'blockport-nvme', 'bare-c'] as const;
export type ContenderName = (typeof contenderNames)[number];

export const iscsiTarget = 'iqn.2026-11.dev.blockport.test:bench';
export const subsystem = 'nqn.2026-11.dev.blockport.test:bench';
const nsid = 1;

export interface ContenderSettings {
	folder: string;
	sizeBytes: number;
	cpu: number | undefined;
	nodeOptions?: string;
	/** The folder has its volume already. */
	isConfigured?: boolean;
}

export function isContender(name: string): name is ContenderName {
	return (contenderNames as readonly string[]).includes(name);
}

/** tgtd's MaxRecvDataSegmentLength. */
const tgtdPDUBytes = 8192;

/** Whether a contender can run a row: iscsi-perf speaks one protocol only, the bare server only reads, and tgtd's own keys make no difference to what fits into its PDUs. */
export function isAble({ name, protocol }: Contender, { shape }: Row): boolean {
	if (name === 'tgtd-defaults' && (shape?.sizeBytes ?? 0) <= tgtdPDUBytes) return false;
	if (shape === undefined) return protocol === 'iscsi';
	return protocol !== 'bare' || shape.op === 'read';
}

/** Where the data comes from: what cannot be written has it from its start. */
export function isWritable({ protocol }: Contender): boolean {
	return protocol !== 'bare';
}

export async function contender(name: ContenderName, settings: ContenderSettings): Promise<Contender> {
	const { folder, sizeBytes, cpu, nodeOptions, isConfigured = false } = settings;
	const common: ServerSettings = {
		folder,
		units: [{ target: iscsiTarget, lun: 0, sizeBytes }],
		initiators: [foreignInitiatorName],
		cpu,
		...(nodeOptions === undefined ? {} : { nodeOptions }),
	};
	if (name === 'bare-c') {
		const server = new BareServer(common);
		return { name, protocol: 'bare', server, port: () => server.port, target: '', unit: 0, start: async () => await server.start() };
	}
	if (name !== 'blockport-nvme') {
		const server = name === 'blockport' ? new Blockport({ ...common, isConfigured }) : new Tgtd(common, name === 'tgtd');
		const unit = server.units[0]!;
		const start = async (): Promise<void> => await server.start();
		return { name, protocol: 'iscsi', server, port: () => server.port, target: unit.target, unit: unit.lun, start };
	}
	const port = await freePort();
	const server = new Blockport({
		...common,
		isConfigured,
		serveArguments: ['--nvme', `127.0.0.1:${port}`, '--nvme-discovery', '127.0.0.1:0'],
	});
	let isMapped = isConfigured;
	const start = async (): Promise<void> => {
		await server.start();
		if (isMapped) return;
		await server.cli('subsystem', 'create', subsystem);
		await server.cli('subsystem', 'allow', subsystem, defaultHostNQN);
		await server.cli('subsystem', 'map', subsystem, 'volume0', '--nsid', String(nsid));
		isMapped = true;
	};
	return { name, protocol: 'nvme', server, port: () => port, target: subsystem, unit: nsid, start };
}
