import { readFile, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import { join } from 'node:path';
import type { ApplianceParts } from '../../src/appliance.ts';
import type { IscsiPortal, Listener } from '../../src/appliance/portals.ts';
import type { VolumeEngine } from '../../src/appliance/volumes.ts';
import type { OpenVolume, VolumeIdentity } from '../../src/appliance/volume-slot.ts';
import type { Allocation, CompareCompletion, Completion, Outcome } from '../../src/blockvol/block-device.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import type { Endpoint, PortalEndpoint } from '../../src/config/endpoint.ts';
import type { SessionSummary } from '../../src/iscsi/listener.ts';
import type { TargetRegistry } from '../../src/iscsi/registry.ts';
import type { Portal, SubsystemRegistry } from '../../src/nvmeof/registry.ts';
import type { Disk } from '../../src/os/disk.ts';
import { FileDisk } from '../../src/os/file-disk.ts';

/** A volume in memory that notes what it was asked. */
export class StandInVolume implements OpenVolume {
	readonly uuid: string;
	readonly blockSize: 512 | 4096;
	readonly atomicBytesMax = 512 * 1024;
	sizeBytes: number;
	fault: string | undefined = undefined;
	closed = false;
	closeError: Error | undefined = undefined;
	readonly calls: string[] = [];
	readonly #listeners = new Set<() => void>();

	constructor(identity: VolumeIdentity) {
		this.uuid = identity.uuid;
		this.blockSize = identity.blockSize;
		this.sizeBytes = identity.sizeBytes;
	}

	tryRead(): Outcome | undefined {
		return 'good';
	}

	read(offsetBytes: number, _target: Uint8Array, completion: Completion): void {
		this.#end(`read ${offsetBytes}`, completion);
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		this.#end(`write ${offsetBytes} ${Buffer.from(data.subarray(0, 4)).toString()} ${fua}`, completion);
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		const [old, fresh] = [expected, data].map((bytes) => Buffer.from(bytes.subarray(0, 4)).toString());
		this.#end(`compareAndWrite ${offsetBytes} ${old} ${fresh} ${fua}`, completion);
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		this.#end(`zero ${offsetBytes} ${lengthBytes} ${fua}`, completion);
	}

	flush(completion: Completion): void {
		this.#end('flush', completion);
	}

	async allocation(offsetBytes: number): Promise<Allocation> {
		return { outcome: 'good', extents: [{ lengthBytes: this.sizeBytes - offsetBytes, isMapped: true }] };
	}

	onResize(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	async resize(sizeBytes: number): Promise<void> {
		if (sizeBytes === 8192 * 3) throw new VolumeUsageError('That is an odd size.');
		if (sizeBytes === 8192 * 5) throw Object.assign(new Error('ENOSPC: ftruncate'), { code: 'ENOSPC' });
		this.sizeBytes = sizeBytes;
		for (const listener of this.#listeners) listener();
	}

	async statistics(): Promise<object> {
		return { dirtyPages: 3, walBytes: 4096, name: 'not a number' };
	}

	async close(): Promise<void> {
		this.closed = true;
		if (this.closeError !== undefined) throw this.closeError;
	}

	#end(call: string, completion: Completion): void {
		this.calls.push(call);
		queueMicrotask(() => completion.complete('good'));
	}
}

/** Keeps a volume as one file of JSON in its directory. */
export class StandInEngine implements VolumeEngine {
	readonly disk: Disk;
	readonly opened: StandInVolume[] = [];
	/** forceCheck of each opening. */
	readonly forced: boolean[] = [];
	/** Called before each step; may throw, or wait. */
	before: (step: 'create' | 'created' | 'open', identity: VolumeIdentity) => unknown = () => undefined;

	constructor(disk: Disk = new FileDisk()) {
		this.disk = disk;
	}

	async create(directory: string, identity: VolumeIdentity): Promise<void> {
		await this.before('create', identity);
		await this.disk.makeDirectory(join(directory, 'wal'));
		await writeFile(join(directory, 'superblock'), JSON.stringify(identity));
		await writeFile(join(directory, 'wal', '0.wal'), 'x');
		await this.before('created', identity);
	}

	async open(directory: string, options: { forceCheck: boolean }): Promise<StandInVolume> {
		this.forced.push(options.forceCheck);
		const text = await readFile(join(directory, 'superblock'), 'utf8');
		if (!text.startsWith('{')) throw new VolumeFault('Both superblock slots are damaged.');
		const identity = JSON.parse(text) as VolumeIdentity;
		await this.before('open', identity);
		const volume = new StandInVolume(identity);
		this.opened.push(volume);
		return volume;
	}
}

/** A TCP listener without a protocol. */
export class StandInListener implements Listener {
	readonly statistics = { commands: 7, name: 'not a number' };
	readonly #server: Server = createServer((socket) => socket.destroy());
	drainedMs: number | undefined;

	listen({ host, port }: Endpoint): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#server.once('error', reject);
			this.#server.listen({ host, port }, () => {
				this.#server.off('error', reject);
				resolve();
			});
		});
	}

	get address(): Endpoint {
		const address = this.#server.address();
		if (typeof address !== 'object' || address === null) throw new Error('does not listen');
		return { host: address.address, port: address.port };
	}

	drain(timeoutMs: number): Promise<void> {
		this.drainedMs = timeoutMs;
		return this.close();
	}

	close(): Promise<void> {
		return new Promise((resolve) => {
			this.#server.close(() => resolve());
		});
	}
}

export class StandInPortal extends StandInListener implements IscsiPortal {
	readonly registry: TargetRegistry;
	readonly ended: string[] = [];
	readonly asked: string[] = [];
	readonly announced: string[] = [];
	list: SessionSummary[] = [];
	/** Only the first really listens. */
	readonly portals: PortalEndpoint[] = [];

	constructor(registry: TargetRegistry) {
		super();
		this.registry = registry;
	}

	override async listen(address: PortalEndpoint): Promise<void> {
		if (this.portals.length === 0) await super.listen(address);
		this.portals.push({ ...address, port: this.portals.length === 0 ? this.address.port : address.port });
	}

	sessions(): readonly SessionSummary[] {
		return this.list;
	}

	/** Sessions that are told to go stay in the list: a test looks at both. */
	endSessions(which: (session: SessionSummary) => boolean, reason: string): number {
		const ended = this.list.filter(which).map(({ target, initiator }) => `${target ?? 'discovery'} ${initiator}: ${reason}`);
		this.ended.push(...ended);
		return ended.length;
	}

	askForLogout(which: (session: SessionSummary) => boolean): number {
		const asked = this.list.filter(which).map(({ target, initiator }) => `${target ?? 'discovery'} ${initiator}`);
		this.asked.push(...asked);
		return asked.length;
	}

	announceLuns(targetName: string): void {
		this.announced.push(targetName);
	}
}

export interface StandIns {
	readonly parts: ApplianceParts;
	readonly engine: StandInEngine;
	/** Set when the appliance has made it. */
	portal: StandInPortal | undefined;
	nvme: StandInNvme | undefined;
}

export interface StandInNvme {
	readonly registry: SubsystemRegistry;
	readonly portals: () => readonly Portal[];
	readonly io: StandInListener;
	readonly discovery: StandInListener;
	closed: boolean;
	close(): void;
}

export function standIns(disk?: Disk): StandIns {
	const engine = new StandInEngine(disk);
	const made: StandIns = {
		engine,
		portal: undefined,
		nvme: undefined,
		parts: {
			engine,
			portal: ({ registry }) => {
				made.portal = new StandInPortal(registry);
				return made.portal;
			},
			nvme: ({ registry, portals }) => {
				const nvme: StandInNvme = {
					registry,
					portals,
					io: new StandInListener(),
					discovery: new StandInListener(),
					closed: false,
					close: () => {
						nvme.closed = true;
					},
				};
				made.nvme = nvme;
				return nvme;
			},
		},
	};
	return made;
}

export function session(initiator: string, target: string | undefined, more: Partial<SessionSummary> = {}): SessionSummary {
	return {
		initiator,
		target,
		isid: '400001370000',
		tsih: 1,
		remote: '127.0.0.1:40000',
		address: '127.0.0.1',
		authentication: 'none',
		commands: 5,
		bytesRead: 4096,
		bytesWritten: 8192,
		since: new Date('2026-11-21T12:00:00Z'),
		...more,
	};
}
