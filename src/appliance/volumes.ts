import { randomUUID } from 'node:crypto';
import type { NewVolume, VolumeView } from '../admin/schemas.ts';
import type { Configuration, VolumeRow } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import type { RemoteOpener } from '../blockvol/remote-pages.ts';
import type { ScrubOptions, ScrubProgress } from '../blockvol/scrub.ts';
import { VolumeFault } from '../blockvol/volume-fault.ts';
import type { Disk } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { ReservationTable } from '../reservation/reservation-table.ts';
import { reservationsView } from './reservations-view.ts';
import type { DataDirectory } from './data-directory.ts';
import { asUsage, sentence } from './refusals.ts';
import { removeTree } from './remove-tree.ts';
import type { SnapshotInfo } from './snapshot-engine.ts';
import { SanitizeUnfinished, unfinishedSanitize } from '../blockvol/sanitize.ts';
import { keepsOldBytes } from '../os/file-system.ts';
import { VolumeSanitizer } from './volume-sanitizer.ts';
import type { Space } from '../scsi/thin-space.ts';
import { UsedBytes } from './used-bytes.ts';
import { type OpenVolume, type VolumeIdentity, VolumeSlot } from './volume-slot.ts';
import { kernelCode } from './kernel-code.ts';

const busyLookMs = 100;

interface EngineOpening {
	log: Logger;
	forceCheck: boolean;
	remote?: RemoteOpener | undefined;
	replaying?: (share: number) => void;
}

/** How volumes come to be: the engine, or a stand-in of a test. */
export interface VolumeEngine {
	readonly disk: Disk;
	create(directory: string, geometry: VolumeIdentity): Promise<void>;
	/** `remote`: where a volume that is restored lazily finds what it lacks. `replaying` is told how far the log is replayed. */
	open(directory: string, options: EngineOpening): Promise<OpenVolume>;
	/** Snapshots of several volumes in one moment, all or none; what was made, in their order. */
	snapshotTogether?(volumes: readonly OpenVolume[], name: string): Promise<readonly SnapshotInfo[]>;
	/** Compares all that a volume has on disk with its checksums. */
	scrub?(volume: OpenVolume, directory: string, options: ScrubOptions): Promise<ScrubProgress & { readonly isComplete: boolean }>;
	/** A volume in a new directory that holds what a snapshot of another one does. */
	clone?(source: OpenVolume, snapshot: string, directory: string, uuid: string): Promise<void>;
}

/** Who has snapshots of volumes open; a volume is known by its uuid. */
export interface VolumeReader {
	isReading(uuid: string): boolean;
	/** Closes what is open, and is not being read. */
	letGo(uuid: string): Promise<void>;
}

/** The volumes of the configuration, each in its slot. Changes are made one at a time: the appliance sees to that. */
export class Volumes {
	readonly #engine: VolumeEngine;
	readonly #configuration: Configuration;
	readonly #directory: DataDirectory;
	readonly #log: Logger;
	readonly #slots = new Map<string, VolumeSlot>();
	readonly #reservations = new Map<string, ReservationTable>();
	readonly #sanitizers = new Map<VolumeSlot, VolumeSanitizer>();
	readonly #freeBytes: UsedBytes;
	/** Whoever reads snapshots beside the exports; asked before a volume goes. */
	readonly readers: VolumeReader[] = [];
	/** Where volumes that are restored lazily find what they lack; set before any is opened. */
	remote: RemoteOpener | undefined;
	/** Directories that no volume owns and nobody doomed. */
	unknownDirectories: readonly string[] = [];

	/** Throws UsageError if the reservations of a volume are damaged. */
	constructor(engine: VolumeEngine, configuration: Configuration, directory: DataDirectory, log: Logger) {
		this.#engine = engine;
		this.#configuration = configuration;
		this.#directory = directory;
		this.#log = log;
		this.#freeBytes = new UsedBytes(() => engine.disk.freeBytes(directory.path));
		for (const row of configuration.volumes()) this.#add(row);
	}

	slot(name: string): VolumeSlot {
		const slot = this.#slots.get(name);
		if (slot === undefined) throw new UsageError(`There is no volume ${name}.`, 'notFound');
		return slot;
	}

	/** The open volume itself; UsageError unless it is there and serves. */
	openVolume(name: string): OpenVolume {
		const { volume, fault, state } = this.slot(name);
		if (fault !== undefined) throw new UsageError(sentence(`Volume ${name} is faulted`, fault), 'unavailable');
		if (state === 'sanitizing') throw new UsageError(`Volume ${name} is being sanitized.`, 'unavailable');
		if (volume === undefined) throw new UsageError(`Volume ${name} is not open yet: try again soon.`, 'unavailable');
		return volume;
	}

	/** The one reservation table of a volume, for all of its exports. */
	reservations(name: string): ReservationTable {
		const table = this.#reservations.get(name);
		if (table === undefined) throw new UsageError(`There is no volume ${name}.`, 'notFound');
		return table;
	}

	/** What a volume takes of the file system and what that has left; undefined while the kernel has not said it. */
	space(name: string): Space | undefined {
		const availableBytes = this.#freeBytes.latest;
		const slot = this.#slots.get(name);
		if (availableBytes === undefined || slot === undefined) return undefined;
		const { limits, diskBytes = 0, usedBytes, isLow } = slot;
		// Where a quota leaves less than the file system does, that is what is left.
		const leftBytes = limits.quotaBytes === undefined ? Infinity : Math.max(0, limits.quotaBytes - diskBytes);
		return { usedBytes, availableBytes: Math.min(availableBytes, leftBytes), isLow };
	}

	/** Ends what a crash left half done, and names the directories that it leaves alone. */
	async settle(): Promise<void> {
		for (const uuid of this.#configuration.doomedDirectories()) {
			this.#log.info({ uuid }, 'removing the directory of a volume that was being made or deleted');
			await this.#removeDirectory(uuid);
		}
		const known = new Set([...this.#slots.values()].map((slot) => slot.uuid));
		const names = await this.#engine.disk.list(this.#directory.volumes);
		this.unknownDirectories = names.filter((name) => !known.has(name)).toSorted();
		for (const name of this.unknownDirectories)
			this.#log.warn({ directory: this.#directory.volume(name) }, 'no volume owns this directory; it is left alone');
		await Promise.all(this.#configuration.volumes().map((row) => this.#resumeSanitizing(row)));
	}

	/** Before any initiator asks: a unit that is being sanitized must not say that it is ready. */
	async #resumeSanitizing({ name, uuid }: VolumeRow): Promise<void> {
		try {
			const order = await unfinishedSanitize(this.#engine.disk, this.#directory.volume(uuid));
			if (order !== undefined) this.#sanitizers.get(this.slot(name))?.resume(order);
		} catch (error) {
			// The opening comes to the same, and tells of it.
			if (!(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
		}
	}

	/** Opens all that are not open yet, at once. One that cannot be opened is faulted, and the others go on. */
	async openAll(forceCheck: boolean): Promise<void> {
		const waiting = this.#configuration.volumes().filter((row) => this.slot(row.name).state === 'opening');
		await Promise.all(waiting.map((row) => this.#open(row, this.slot(row.name), forceCheck)));
	}

	/** Flushes and closes all, in parallel. Resolves to the names of those that could not be closed properly. */
	async closeAll(): Promise<string[]> {
		const closed = await Promise.all([...this.#slots].map(([name, slot]) => this.#close(name, slot)));
		this.#slots.clear();
		return closed.filter((name) => name !== undefined);
	}

	list(): Promise<VolumeView[]> {
		return Promise.all(this.#configuration.volumes().map((row) => this.#view(row)));
	}

	async view(name: string): Promise<VolumeView> {
		const view = await this.#view(this.#configuration.volume(name));
		return { ...view, reservations: reservationsView(this.reservations(name)) };
	}

	/** Those that are not open yet, with the share of their log that is replayed. */
	opening(): { volume: string; replayed?: number }[] {
		return [...this.#slots].flatMap(([volume, { state, replayed }]) =>
			state === 'opening' ? [{ volume, ...(replayed === undefined ? {} : { replayed }) }] : [],
		);
	}

	counts(): { opening: number; online: number; faulted: number } {
		const counts = { opening: 0, online: 0, faulted: 0 };
		// A volume that is being sanitized is not open yet either.
		for (const { state } of this.#slots.values()) counts[state === 'sanitizing' ? 'opening' : state]++;
		return counts;
	}

	faults(): { volume: string; fault: string }[] {
		return [...this.#slots].flatMap(([volume, slot]) => (slot.fault === undefined ? [] : [{ volume, fault: slot.fault }]));
	}

	create({ name, sizeBytes, blockSize }: NewVolume): Promise<VolumeView> {
		return this.#make({ name, sizeBytes, blockSize }, (directory, identity) => this.#engine.create(directory, identity));
	}

	/** A volume that holds what a snapshot does. */
	clone(volume: string, snapshot: string, { name, sizeBytes }: { name: string; sizeBytes: number }): Promise<VolumeView> {
		const source = this.openVolume(volume);
		const engine = this.#engine;
		const clone = engine.clone?.bind(engine);
		if (clone === undefined) throw new UsageError("This build's engine has no clones.", 'unavailable');
		return this.#make({ name, sizeBytes, blockSize: source.blockSize }, (directory, { uuid }) => clone(source, snapshot, directory, uuid));
	}

	async resize(name: string, sizeBytes: number): Promise<VolumeView> {
		this.#configuration.checkResize(name, sizeBytes);
		const { volume } = this.slot(name);
		if (volume === undefined) throw new UsageError(`Volume ${name} is not open: see its state.`, 'unavailable');
		try {
			// The volume first: after a crash between the two the volume is the larger one, and the restart takes its size over.
			await volume.resize(sizeBytes);
		} catch (error) {
			throw asUsage(error, `Volume ${name} was not resized`);
		}
		this.#configuration.resizeVolume(name, sizeBytes);
		return this.view(name);
	}

	/** Whether initiators may have a volume sanitized, from now on. Refused where the file system keeps what is overwritten. */
	async setSanitizable(name: string, isAllowed: boolean): Promise<VolumeView> {
		const { uuid } = this.#configuration.volume(name);
		const keeper = isAllowed ? await keepsOldBytes(this.#directory.path) : undefined;
		if (keeper !== undefined)
			throw new UsageError(`${keeper} writes elsewhere what is overwritten and keeps the old bytes: nothing can be sanitized on it.`);
		this.#configuration.sanitizing.set(uuid, isAllowed);
		return this.view(name);
	}

	async scrub(name: string, options: ScrubOptions): Promise<ScrubProgress & { readonly isComplete: boolean }> {
		const volume = this.openVolume(name);
		const engine = this.#engine;
		if (engine.scrub === undefined) throw new UsageError("This build's engine has no scrub.", 'unavailable');
		return await engine.scrub(volume, this.#directory.volume(volume.uuid), { ...options, isBusy: useOf(volume) });
	}

	/** After a restore: takes over the size that the volume has now, and has its initiators look at it again. */
	restored(name: string): Promise<VolumeView> {
		const slot = this.slot(name);
		this.#configuration.takeVolumeSize(name, slot.sizeBytes);
		slot.contentChanged();
		return this.view(name);
	}

	/** Deletes a volume that nothing maps. Its name is free when this returns, and its data gone. */
	async delete(name: string): Promise<void> {
		const { uuid } = this.slot(name);
		if (this.readers.some((reader) => reader.isReading(uuid)))
			throw new UsageError(`A snapshot of volume ${name} is being exported: wait for its end.`, 'inUse');
		const row = this.#configuration.removeVolume(name);
		const slot = this.slot(name);
		this.#slots.delete(name);
		this.#reservations.delete(name);
		// None begins to read now that the name is gone.
		await Promise.all(this.readers.map((reader) => reader.letGo(uuid)));
		await this.#close(name, slot);
		await this.#removeDirectory(row.uuid);
	}

	/** An open volume that the configuration does not name: its directory stays doomed until it is published. */
	async makeShadow(volume: { name: string; sizeBytes: number; blockSize: 512 | 4096 }, make?: VolumeEngine['create']): Promise<OpenVolume> {
		const uuid = randomUUID();
		const { sizeBytes, blockSize } = volume;
		const directory = this.#directory.volume(uuid);
		this.#configuration.doomDirectory(uuid);
		try {
			await (make ?? this.#engine.create.bind(this.#engine))(directory, { uuid, sizeBytes, blockSize });
			await this.#engine.disk.syncDirectory(this.#directory.volumes);
			return await this.#engine.open(directory, { log: this.#log, forceCheck: false, remote: this.remote });
		} catch (error) {
			await this.#removeDirectory(uuid);
			throw asUsage(error, `Volume ${volume.name} was not made`);
		}
	}

	/** A shadow becomes a volume, in one step; with `keepAs` instead of the one that has its name, which is called so from now on. Nothing maps that one: refused (UsageError) if something does. */
	publishShadow(name: string, shadow: OpenVolume, keepAs?: string): void {
		const { uuid, sizeBytes, blockSize } = shadow;
		const volume = { name, uuid, sizeBytes, blockSize };
		if (keepAs === undefined) {
			this.#add(this.#configuration.addVolume(volume)).opened(shadow);
			return;
		}
		const [slot, reservations] = [this.slot(name), this.reservations(name)];
		const row = this.#configuration.replaceVolume(volume, keepAs);
		this.#slots.set(keepAs, slot);
		this.#reservations.set(keepAs, reservations);
		this.#add(row).opened(shadow);
	}

	/** Closes a shadow and removes what is in it. */
	async discardShadow(name: string, shadow: OpenVolume): Promise<void> {
		try {
			await shadow.close();
		} catch (error) {
			if (!(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
			this.#log.error({ volume: name, err: error }, 'a volume that was given up could not be closed properly');
		}
		await this.#removeDirectory(shadow.uuid);
	}

	async #make(volume: Omit<VolumeIdentity, 'uuid'> & { name: string }, make: VolumeEngine['create']): Promise<VolumeView> {
		this.#configuration.checkNewVolume(volume);
		const uuid = randomUUID();
		this.#configuration.doomDirectory(uuid);
		let row: VolumeRow;
		try {
			await make(this.#directory.volume(uuid), { uuid, sizeBytes: volume.sizeBytes, blockSize: volume.blockSize });
			await this.#engine.disk.syncDirectory(this.#directory.volumes);
			row = this.#configuration.addVolume({ ...volume, uuid });
		} catch (error) {
			await this.#removeDirectory(uuid);
			throw asUsage(error, `Volume ${volume.name} was not made`);
		}
		await this.#open(row, this.#add(row), false);
		return this.view(row.name);
	}

	#add(row: VolumeRow): VolumeSlot {
		const slot = new VolumeSlot(row);
		slot.setLimits(this.#configuration.space.of(row.uuid));
		const { uuid } = row;
		const sanitizer = new VolumeSanitizer({
			slot,
			disk: this.#engine.disk,
			directory: this.#directory.volume(uuid),
			log: this.#log,
			isAllowed: () => this.#configuration.sanitizing.has(uuid),
			reopen: async () => {
				const now = this.#configuration.volumes().find((one) => one.uuid === uuid);
				if (now !== undefined) await this.#open(now, slot, false);
			},
		});
		this.#sanitizers.set(slot, sanitizer);
		slot.sanitizer = sanitizer;
		this.#reservations.set(row.name, new ReservationTable(this.#configuration.reservationStore(row.uuid, this.#log)));
		this.#slots.set(row.name, slot);
		return slot;
	}

	async #open(row: VolumeRow, slot: VolumeSlot, forceCheck: boolean): Promise<void> {
		try {
			const volume = await this.#engine.open(this.#directory.volume(row.uuid), {
				log: this.#log,
				forceCheck,
				remote: this.remote,
				replaying: (share) => {
					slot.replayed = share;
				},
			});
			if (volume.uuid !== row.uuid || volume.blockSize !== row.blockSize) {
				await volume.close();
				throw new VolumeFault(`The directory ${row.uuid} holds another volume than the configuration says.`);
			}
			slot.opened(volume);
			if (volume.sizeBytes !== row.sizeBytes) this.#configuration.takeVolumeSize(row.name, volume.sizeBytes);
		} catch (error) {
			const sanitizer = this.#sanitizers.get(slot);
			if (error instanceof SanitizeUnfinished && sanitizer !== undefined) {
				sanitizer.resume(error.order);
				return;
			}
			const code = kernelCode(error);
			if (!(error instanceof VolumeFault) && code === '') throw error;
			const reason = error instanceof VolumeFault ? error.message : `The volume cannot be opened (${code}).`;
			this.#log.error({ volume: row.name, uuid: row.uuid, err: error }, `volume ${row.name} cannot be opened: ${reason}`);
			slot.failed(reason);
		}
	}

	/** Resolves to the name when the volume could not be closed properly; the log says why. */
	async #close(name: string, slot: VolumeSlot): Promise<string | undefined> {
		await this.#sanitizers.get(slot)?.stop();
		this.#sanitizers.delete(slot);
		const volume = slot.end();
		if (volume === undefined) return undefined;
		try {
			await volume.close();
			return undefined;
		} catch (error) {
			if (!(error instanceof VolumeFault) && kernelCode(error) === '') throw error;
			this.#log.error({ volume: name, err: error }, 'a volume could not be closed properly');
			return name;
		}
	}

	/** A directory that cannot be removed stays doomed: the next start tries again. */
	async #removeDirectory(uuid: string): Promise<void> {
		try {
			await removeTree(this.#engine.disk, this.#directory.volume(uuid));
			await this.#engine.disk.syncDirectory(this.#directory.volumes);
		} catch (error) {
			if (kernelCode(error) === '') throw error;
			this.#log.error({ uuid, err: error }, 'the directory of a deleted volume cannot be removed');
			return;
		}
		this.#configuration.directoryRemoved(uuid);
	}

	async #view(row: VolumeRow): Promise<VolumeView> {
		// Before the wait below: the volume and what maps it are of one moment.
		const mappings = this.#configuration.mappingsOf(row.name);
		const namespaces = this.#configuration.subsystems.mappingsOf(row.name);
		const slot = this.slot(row.name);
		const statistics = await statisticsOf(slot);
		return {
			...row,
			sizeBytes: slot.sizeBytes,
			state: slot.state,
			...(slot.fault === undefined ? {} : { fault: slot.fault }),
			mappings,
			namespaces,
			...(this.#configuration.sanitizing.has(row.uuid) ? { sanitizable: true } : {}),
			...restoringOf(slot),
			...(slot.state === 'opening' && slot.replayed !== undefined ? { replayed: slot.replayed } : {}),
			...(slot.volume?.isClone === true ? { clone: true } : {}),
			...(statistics === undefined ? {} : { statistics }),
		};
	}
}

/** How far it is fetched from an archive. */
function restoringOf({ volume }: VolumeSlot): Pick<VolumeView, 'restoring'> {
	const remote = volume?.remote;
	if (remote === undefined) return {};
	const { identity, chunks, localChunks, failedReads, failure } = remote;
	const done = chunks === 0 ? 1 : localChunks / chunks;
	return { restoring: { ...identity, done, failedReads, ...(failure === undefined ? {} : { failure }) } };
}

/** Undefined unless it is open, also when it is closed while it is asked. */
async function statisticsOf(slot: VolumeSlot): Promise<Record<string, number> | undefined> {
	const { volume } = slot;
	if (volume === undefined) return undefined;
	try {
		return numbers(await volume.statistics());
	} catch (error) {
		if (slot.volume === volume) throw error;
		return undefined;
	}
}

/** Whether a volume was used since the last look, which is not worth more than ten times a second. */
function useOf(volume: OpenVolume): () => boolean {
	const commands = (): number => {
		const { readCommands = 0, writeCommands = 0, zeroCommands = 0, flushCommands = 0 } = numbers(volume.statistics());
		return readCommands + writeCommands + zeroCommands + flushCommands;
	};
	let before = commands();
	let lookedMs = performance.now();
	let isBusy = false;
	return () => {
		if (performance.now() - lookedMs < busyLookMs) return isBusy;
		const now = commands();
		isBusy = now !== before;
		before = now;
		lookedMs = performance.now();
		return isBusy;
	};
}

function numbers(statistics: object): Record<string, number> {
	return Object.fromEntries(Object.entries(statistics).filter((entry): entry is [string, number] => typeof entry[1] === 'number'));
}
