import type { Disk } from '../os/disk.ts';
import { BelowIndex } from './below-index.ts';
import { FlushBatch } from './flush-batch.ts';
import { Generation, placeWal } from './generation.ts';
import { hideBelow } from './hide.ts';
import { isAnchor } from './history-hold.ts';
import type { Layer } from './layer.ts';
import type { LayerSet } from './layer-set.ts';
import type { Snapshot } from './layer-tree.ts';
import { pageBytes, unitBytes, type Tuning } from './limits.ts';
import { LogReader, type LogRecord } from './log-reader.ts';
import { timeMax } from './record-clock.ts';
import { apply } from './replay.ts';
import { decodeCut } from './snapshot-record.ts';
import { VolumeFault, VolumeUsageError } from './volume-fault.ts';
import type { Wal } from './wal.ts';
import { recordType } from './wal-record.ts';

export interface RewinderParts {
	readonly disk: Disk;
	/** The log's. */
	readonly directory: string;
	readonly segmentBytes: number;
	readonly walGeneration: number;
	readonly wal: Wal;
	readonly layers: LayerSet;
	readonly tuning: Tuning;
	readonly blocksPerBit: number;
}

/** Up to where records count: those that were appended before a time, or that lie below an LSN. */
export type Moment = { readonly timeMs: number } | { readonly lsn: number };

/** What is to be put together. */
export interface RewindPlan {
	/** Complete, at or before the moment; everything behind it that counts is held in the log. */
	readonly base: Snapshot;
	readonly moment: Moment;
	/** Records from here on are not looked at: the next anchor, or the end of the log. */
	readonly endLSN: number;
	/** When the state at endLSN was live at the latest. */
	readonly endMs: number;
	/** The size that a volume which has outgrown its base may have had. */
	readonly grownBytes: number;
	/** Throws when the work must not go on. */
	mustGoOn(): void;
}

/** A layer that stands on the plan's base, durable with its name and in no tree. */
export interface Rewound {
	readonly layer: Layer;
	/** Everything below is in it. */
	readonly lsn: number;
	/** When the last record of it was appended; the base's time if there is none. */
	readonly timeMs: number;
	readonly sizeBytes: number;
}

/** So many pages and zeroed ranges are carried from the log at once: what a rewind takes of memory. */
const chunkPagesMax = 32 * 1024;
const chunkZerosMax = 1024;

/**
 * Puts together what a volume held at a moment: a new layer on an anchor's, into which the log's records from the anchor up to the moment are carried, oldest first. Nobody sees the layer before the tree
 * names it, so nothing here needs an order on the disk; a crash leaves files that the next opening removes.
 */
export async function rewind(parts: RewinderParts, plan: RewindPlan): Promise<Rewound> {
	const { layers, tuning, blocksPerBit } = parts;
	const below = new BelowIndex(tuning.belowBlocks, blocksPerBit);
	below.reset(layers.stack(plan.base.layer));
	layers.indexes.add(below);
	const layer = layers.make();
	try {
		const end = await carry(parts, plan, layer, below);
		await layer.makeMap();
		await layer.syncData();
		await layer.map.file.datasync();
		return { layer, ...end };
	} catch (error) {
		await layers.discard(layer);
		throw error;
	} finally {
		layers.indexes.delete(below);
	}
}

async function carry(parts: RewinderParts, plan: RewindPlan, layer: Layer, below: BelowIndex): Promise<Omit<Rewound, 'layer'>> {
	const { disk, directory, segmentBytes, walGeneration } = parts;
	const { base, moment } = plan;
	const endLSN = 'timeMs' in moment ? plan.endLSN : Math.min(plan.endLSN, moment.lsn);
	const reader = new LogReader(disk, directory, segmentBytes, walGeneration, 'readOnly');
	let chunk = new Generation();
	let { lsn, sizeBytes, timeMs } = base;
	let anchorMs = base.timeMs;
	try {
		const sequenceOf = (at: number): number => Math.floor((at * unitBytes) / segmentBytes);
		await reader.open(sequenceOf(lsn), await disk.list(directory), sequenceOf(endLSN));
		while (lsn < endLSN) {
			const record = await reader.record(lsn);
			if (record === undefined) throw new VolumeFault(`the history is damaged: the log has no sound record at LSN ${lsn}`);
			if (record.type !== recordType.pad) {
				const recordMs = timeOf(record, anchorMs, plan);
				if ('timeMs' in moment && recordMs >= moment.timeMs) break;
				timeMs = Math.max(timeMs, recordMs);
			}
			if (record.type === recordType.snapshot) {
				const cut = decodeCut(record.bytes, record.tableAt);
				if (isAnchor(cut)) anchorMs = cut.timeMs;
			} else apply(record, chunk);
			const endBytes = (record.firstPage + record.pages) * pageBytes;
			if (endBytes > sizeBytes) sizeBytes = Math.max(endBytes, plan.grownBytes);
			lsn += record.lengthUnits;
			if (chunk.length < chunkPagesMax && chunk.zeros.count < chunkZerosMax) continue;
			await write(parts, chunk, layer, below, plan);
			chunk = new Generation();
		}
		await write(parts, chunk, layer, below, plan);
	} finally {
		await reader.close();
	}
	return { lsn, timeMs, sizeBytes };
}

/** When a record was appended. Throws VolumeUsageError for one that cannot be brought back, or of which nobody knows. */
function timeOf({ type, time, lsn }: LogRecord, anchorMs: number, { moment, endMs }: RewindPlan): number {
	// A build that knows no history has written here: its large writes changed the layer in place.
	if (type === recordType.direct || type === recordType.overwrite || (time === 0 && type !== recordType.snapshot))
		throw new VolumeUsageError(
			`the history has a gap at LSN ${lsn}, since another version of the program wrote there: only moments before it can be shown`,
		);
	const recordMs = anchorMs + Math.max(0, time - 1);
	const isVague = time === timeMax && 'timeMs' in moment && moment.timeMs > recordMs;
	if (isVague && moment.timeMs < endMs)
		throw new VolumeUsageError(`nothing is known of the weeks from ${iso(recordMs)} to ${iso(endMs)}: take a moment before or after them`);
	return recordMs;
}

function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}

/** The pages of a chunk over those that the layer has. */
async function write(
	{ wal, tuning, segmentBytes }: RewinderParts,
	chunk: Generation,
	layer: Layer,
	below: BelowIndex,
	plan: RewindPlan,
): Promise<void> {
	plan.mustGoOn();
	for (const { start, end } of chunk.zeros) {
		await layer.punch(start, end);
		await layer.map.clear(start, end, layer.digest);
		await hideBelow(layer, below, start, end);
	}
	const batch = new FlushBatch(tuning.flushBatchBytes);
	const pages: number[] = [];
	for (let entry = 0; entry < chunk.length; entry++) {
		if (!chunk.isNewest(entry)) continue;
		if (chunk.placeOf(entry) !== placeWal) throw new Error('a rewind over a page that is not in the log');
		pages.push(chunk.pageOf(entry));
		const location = chunk.locationOf(entry);
		if (batch.add(entry, location, segmentBytes / unitBytes)) continue;
		await batch.move(chunk, wal, layer);
		batch.clear();
		plan.mustGoOn();
		batch.add(entry, location, segmentBytes / unitBytes);
	}
	if (!batch.isEmpty) await batch.move(chunk, wal, layer);
	batch.clear();
	batch.release();
	const sorted = Float64Array.from(pages).sort();
	const checksums = Uint32Array.from(sorted, (page) => chunk.checksumOf(chunk.find(page)));
	await layer.map.update(sorted, checksums, sorted.length, layer.digest);
}
