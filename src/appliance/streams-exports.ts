import type { ExportFormat, ExtentsView } from '../admin/stream-schemas.ts';
import type { OpenExport } from '../admin/stream-routes.ts';
import { deviceExtents } from '../archive/stream/device-extents.ts';
import { Qcow2Image } from '../archive/stream/qcow2-writer.ts';
import { rawBytes } from '../archive/stream/raw-writer.ts';
import { DeviceError } from '../archive/stream/stream-error.ts';
import { UsageError } from '../config/usage-error.ts';
import type { EventLog } from './event-log.ts';
import { missingPages } from './missing-pages.ts';
import { refusal } from './shadow-volumes.ts';
import { type SnapshotDevice, snapshotCalls } from './snapshot-engine.ts';
import { asUsage, sentence } from './refusals.ts';
import type { OpenVolume } from './volume-slot.ts';
import type { VolumeReader, Volumes } from './volumes.ts';

/** Requests, of which the command has two under way. Each reads 2 MiB ahead. */
export const exportsMax = 8;
/** How long a snapshot stays open for the next request of who exports it in parts. */
const lingerMs = 10_000;
/** One list of extents goes over so much of the volume, about a second at the most. */
const scanBytes = 64 * 2 ** 30;
const rangesMax = 4096;
/** Zeros between two ranges that are not worth a request. */
const gapBytes = 512 * 1024;

/** An open snapshot, for all that export it. */
interface View {
	readonly volume: string;
	readonly volumeUuid: string;
	readonly snapshot: string;
	/** It may lack what has to be fetched. */
	readonly source: Pick<OpenVolume, 'remote'>;
	readonly opening: Promise<SnapshotDevice>;
	/** Of the qcow2 image. */
	counts: Promise<Uint16Array> | undefined;
	users: number;
	linger: NodeJS.Timeout | undefined;
}

export interface ExportParts {
	readonly volumes: Volumes;
	readonly events: EventLog;
}

/** Snapshots that leave the machine as images. While one is read, neither it nor its volume can be deleted. */
export class StreamExports implements VolumeReader {
	readonly #parts: ExportParts;
	readonly #views = new Map<string, View>();
	readonly #abort = new AbortController();
	#open = 0;
	#idle: (() => void) | undefined;

	constructor(parts: ExportParts) {
		this.#parts = parts;
	}

	/** Rejects with UsageError. */
	async open(volume: string, snapshot: string, format: ExportFormat): Promise<OpenExport> {
		const view = this.#take(volume, snapshot);
		let isClosed = false;
		const close = (): void => {
			if (!isClosed) this.#give(view);
			isClosed = true;
		};
		try {
			const device = await view.opening;
			const etag = `"${device.uuid}-${format}"`;
			const image = format === 'raw' ? undefined : new Qcow2Image(device, await this.#counts(view, device));
			return {
				etag,
				lengthBytes: image?.lengthBytes ?? device.sizeBytes,
				bytes: (from, to, signal) => {
					const either = AbortSignal.any([signal, this.#abort.signal]);
					return image === undefined ? rawBytes(device, from, to, either) : image.bytes(from, to, either);
				},
				failed: (error) => this.#failed(view, error),
				close,
			};
		} catch (error) {
			close();
			throw refusalOf(error, view, `Snapshot ${volume}@${snapshot} cannot be exported`);
		}
	}

	/** Rejects with UsageError. */
	async extents(volume: string, snapshot: string, fromBytes: number): Promise<ExtentsView> {
		const view = this.#take(volume, snapshot);
		try {
			const device = await view.opening;
			const { sizeBytes } = device;
			const ranges: { offsetBytes: number; lengthBytes: number }[] = [];
			let end = Math.min(sizeBytes, fromBytes + scanBytes);
			for await (const { offsetBytes, lengthBytes, isMapped } of deviceExtents(device, fromBytes, end, this.#abort.signal)) {
				const last = ranges.at(-1);
				if (!isMapped) continue;
				if (last !== undefined && offsetBytes - (last.offsetBytes + last.lengthBytes) < gapBytes) {
					last.lengthBytes = offsetBytes + lengthBytes - last.offsetBytes;
				} else if (ranges.length < rangesMax) ranges.push({ offsetBytes, lengthBytes });
				else {
					end = offsetBytes;
					break;
				}
			}
			return { sizeBytes, etag: `"${device.uuid}-raw"`, ranges, ...(end < sizeBytes ? { nextBytes: end } : {}) };
		} catch (error) {
			throw refusalOf(error, view, `What snapshot ${volume}@${snapshot} holds cannot be told`);
		} finally {
			this.#give(view);
		}
	}

	/** Whether a snapshot is being read. */
	isExporting(volumeUuid: string, snapshot: string): boolean {
		return [...this.#views.values()].some((view) => view.users > 0 && view.volumeUuid === volumeUuid && view.snapshot === snapshot);
	}

	isReading(volumeUuid: string): boolean {
		return [...this.#views.values()].some((view) => view.users > 0 && view.volumeUuid === volumeUuid);
	}

	/** A volume goes: what stays open for a next request is closed. */
	async letGo(volumeUuid: string): Promise<void> {
		const views = [...this.#views].filter(([, view]) => view.volumeUuid === volumeUuid && view.users === 0);
		await Promise.all(views.map(([key, view]) => this.#close(key, view)));
	}

	/** Ends all, before the volumes are closed. */
	async closeAll(): Promise<void> {
		this.#abort.abort(new UsageError('The appliance is being stopped.', 'unavailable'));
		if (this.#open > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
		await Promise.all([...this.#views].map(([key, view]) => this.#close(key, view)));
	}

	#take(volume: string, name: string): View {
		if (this.#abort.signal.aborted) throw new UsageError('The appliance is being stopped.', 'unavailable');
		const open = this.#parts.volumes.openVolume(volume);
		const info = snapshotCalls(open, 'snapshots')
			.snapshots()
			.find((one) => one.name === name);
		if (info === undefined) throw new UsageError(`There is no snapshot ${volume}@${name}.`, 'notFound');
		if (this.#open >= exportsMax)
			throw new UsageError(`${exportsMax} requests for exports are under way, which is the most at a time.`, 'inUse');
		const key = `${open.uuid}/${info.id}`;
		let view = this.#views.get(key);
		if (view === undefined) {
			this.#makeRoom();
			const opening = snapshotCalls(open, 'openSnapshot').openSnapshot(name);
			view = { volume, volumeUuid: open.uuid, snapshot: name, source: open, opening, counts: undefined, users: 0, linger: undefined };
			this.#views.set(key, view);
		}
		clearTimeout(view.linger);
		view.users++;
		this.#open++;
		return view;
	}

	#give(view: View): void {
		view.users--;
		this.#open--;
		if (this.#open === 0) this.#idle?.();
		if (view.users > 0) return;
		const key = [...this.#views].find(([, one]) => one === view)?.[0];
		if (key === undefined) return;
		view.linger = setTimeout(() => void this.#close(key, view), lingerMs).unref();
		// What could not be opened is not kept.
		void view.opening.catch(() => this.#close(key, view));
	}

	/** As many stay open as may be read at once. */
	#makeRoom(): void {
		if (this.#views.size < exportsMax) return;
		const idle = [...this.#views].find(([, view]) => view.users === 0);
		if (idle !== undefined) void this.#close(...idle);
	}

	async #close(key: string, view: View): Promise<void> {
		clearTimeout(view.linger);
		if (this.#views.get(key) === view) this.#views.delete(key);
		const device = await view.opening.catch(() => undefined);
		await device?.close();
	}

	#counts(view: View, device: SnapshotDevice): Promise<Uint16Array> {
		view.counts ??= Qcow2Image.count(device, this.#abort.signal);
		view.counts.catch(() => (view.counts = undefined));
		return view.counts;
	}

	#failed({ volume, snapshot, source }: View, error: unknown): void {
		if (this.#abort.signal.aborted) return;
		const reason = error instanceof Error ? error.message : 'for an unknown reason';
		const missing = error instanceof DeviceError ? missingPages(volume, source.remote) : undefined;
		const message = `${sentence(`The export of snapshot ${volume}@${snapshot} broke off`, reason)}${missing === undefined ? '' : ` ${missing}`}`;
		this.#parts.events.add({ severity: 'error', kind: 'export-failed', volume, snapshot, message });
	}
}

function refusalOf(error: unknown, { volume, source }: View, what: string): unknown {
	if (!(error instanceof DeviceError)) return asUsage(error, what);
	const missing = missingPages(volume, source.remote);
	return missing === undefined ? refusal(what, error.outcome) : new UsageError(`${what}. ${missing}`, 'unavailable', { cause: error });
}
