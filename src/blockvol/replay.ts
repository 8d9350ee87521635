import { errorCode, type Disk } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { Generation, placeLayer, placeWal, recordStart } from './generation.ts';
import type { Layer } from './layer.ts';
import { pageBytes, unitBytes } from './limits.ts';
import { LogReader, type LogRecord } from './log-reader.ts';
import { settle } from './settle.ts';
import type { Superblock } from './superblock.ts';
import { decodeCut, type SnapshotCut } from './snapshot-record.ts';
import { VolumeFault } from './volume-fault.ts';
import { pageChecksum } from './page-checksums.ts';
import { recordType } from './wal-record.ts';

/** A generation that a snapshot ended. */
export interface ReplayedCut {
	generation: Generation;
	/** The LSN behind the snapshot's record. */
	cutLSN: number;
	snapshot: SnapshotCut;
}

export interface Replayed {
	/** Oldest first: what belongs to the layers of snapshots that the tree does not know yet. */
	cuts: ReplayedCut[];
	/** What belongs to the live layer. */
	generation: Generation;
	/** Where the log ends: what follows is cut off. */
	tailLSN: number;
	/** The highest epoch in the log or the superblock. */
	epoch: number;
	records: number;
}

/** The layers that replay looks at. */
export interface ReplayLayers {
	/** The live layer of the superblock. */
	readonly base: Layer;
	/** The one that a snapshot's record began, made if need be; undefined where nothing may be made and it is not there. */
	next(id: number): Promise<Layer | undefined>;
}

/** A direct record, and which of its pages the layer does not hold as the record says. */
interface DirectRecord {
	/** What its layer's newest versions are in. */
	generation: Generation;
	layer: Layer | undefined;
	lsn: number;
	firstPage: number;
	pages: number;
	mismatched: number[];
}

/** What one pass over the log found. */
interface Pass extends Replayed {
	/** The highest durable LSN that the records told of. */
	durableLSN: number;
	directs: DirectRecord[];
}

/**
 * Reads the log from the checkpoint, strictly by LSN, up to the first record that is not whole, not of this log, or of a lower epoch than the one before it.
 *
 * A snapshot's record ends a generation and begins another, for another layer.
 *
 * What the pages of marked regions hold was being changed: it is taken as it is (settle.ts).
 *
 * A direct record whose data did not reach the layer ends the log, too: it was never flushed, so nothing behind it was, and what comes later may stand on it.
 *
 * A log that ends before something that was known to be durable is damaged, not cut short by a crash: that is a fault and not an end.
 *
 * `passed` is told now and then which share of the log was read, 0 to 1.
 */
export async function replay(
	disk: Disk,
	directory: string,
	superblock: Superblock,
	layers: ReplayLayers,
	mode: 'existing' | 'readOnly',
	passed?: (share: number) => void,
): Promise<Replayed> {
	const { geometry, checkpointLSN, walGeneration } = superblock;
	const reader = new LogReader(disk, directory, geometry.segmentBytes, walGeneration, mode);
	reader.passed = passed;
	try {
		await reader.open(Math.floor((checkpointLSN * unitBytes) / geometry.segmentBytes), await disk.list(directory));
		const compared = new Map<number, DirectRecord>();
		let pass = await readPass(reader, superblock, layers, compared, Infinity);
		const durableLSN = Math.max(pass.durableLSN, await reader.durableAfter(pass.tailLSN));
		if (durableLSN > pass.tailLSN) {
			throw new VolumeFault(`the write-ahead log is damaged at LSN ${pass.tailLSN}: it was on stable storage up to LSN ${durableLSN}`);
		}
		// What covered an earlier record's pages may be cut off with a later one: look again until nothing changes.
		for (let cut = firstUnwritten(pass, durableLSN); cut !== undefined; cut = firstUnwritten(pass, durableLSN)) {
			pass = await readPass(reader, superblock, layers, compared, cut);
		}
		// Regions are marked in the live layer of the superblock only (marks.ts).
		await settle(pass.cuts[0]?.generation ?? pass.generation, layers.base, superblock, durableLSN, mode);
		if (mode === 'existing') {
			await rewriteLog(reader, durableLSN, pass.tailLSN, geometry.segmentBytes);
			await rewriteDirect(pass, durableLSN);
		}
		return pass;
	} catch (error) {
		if (errorCode(error) === '') throw error;
		throw new VolumeFault('the write-ahead log cannot be read', { cause: error });
	} finally {
		await reader.close();
	}
}

async function readPass(
	reader: LogReader,
	superblock: Superblock,
	layers: ReplayLayers,
	compared: Map<number, DirectRecord>,
	endLSN: number,
): Promise<Pass> {
	const endPage = superblock.geometry.sizeBytes / pageBytes;
	let generation = new Generation();
	let layer: Layer | undefined = layers.base;
	const cuts: ReplayedCut[] = [];
	const directs: DirectRecord[] = [];
	let { epoch, checkpointLSN: lsn } = superblock;
	let durableLSN = lsn;
	let lowestEpoch = 0;
	let records = 0;
	while (lsn < endLSN) {
		const record = await reader.record(lsn);
		if (record === undefined || record.epoch < lowestEpoch) break;
		// What an earlier opening cut off stays cut off, though it may look whole again.
		if (lsn >= superblock.tailLSN && record.epoch < superblock.epoch) break;
		if (record.firstPage + record.pages > endPage) {
			throw new VolumeFault(`the write-ahead log has a record for page ${record.firstPage + record.pages - 1} of ${endPage} (LSN ${lsn})`);
		}
		lowestEpoch = record.epoch;
		epoch = Math.max(epoch, record.epoch);
		durableLSN = Math.max(durableLSN, record.durableLSN);
		const direct = apply(record, generation);
		const cut = record.type === recordType.snapshot ? decodeCut(record.bytes, record.tableAt) : undefined;
		lsn += record.lengthUnits;
		records++;
		if (cut !== undefined) {
			cuts.push({ generation, cutLSN: lsn, snapshot: cut });
			generation = new Generation();
			layer = await layers.next(cut.newLayer);
			continue;
		}
		if (direct === undefined) continue;
		const mismatched = compared.get(direct.lsn)?.mismatched ?? (await compare(direct, layer));
		const known = { lsn: direct.lsn, firstPage: direct.firstPage, pages: direct.pages, mismatched, generation, layer };
		compared.set(direct.lsn, known);
		directs.push(known);
	}
	return { cuts, generation, tailLSN: lsn, epoch, records, durableLSN, directs };
}

/**
 * LSN of the first direct record that was not flushed and whose data is not all in the layer. A page that a later record covers says nothing: the flusher may have
 * overwritten it. A record below the durable LSN keeps its checksums whatever the layer holds: what does not match is a medium error.
 */
function firstUnwritten({ directs }: Pass, durableLSN: number): number | undefined {
	return directs.find(({ lsn, mismatched, generation }) => lsn >= durableLSN && mismatched.some((page) => isNewest(generation, page, lsn)))
		?.lsn;
}

/** One whose data has not been looked at. */
interface DirectCandidate extends Pick<DirectRecord, 'lsn' | 'firstPage' | 'pages'> {
	checksums: Uint32Array;
}

/** Makes a record visible; returns a direct one, whose data must be looked at. */
export function apply(record: LogRecord, generation: Generation): DirectCandidate | undefined {
	const { type, firstPage, pages, lsn, bytes, tableAt } = record;
	if (type === recordType.zero) generation.zeros.add(firstPage, firstPage + pages, lsn);
	if (type === recordType.write) {
		for (let page = 0; page < pages; page++) {
			const place = page === 0 ? placeWal + recordStart : placeWal;
			generation.put(firstPage + page, record.dataLocation + (page * pageBytes) / unitBytes, bytes.readUInt32LE(tableAt + page * 4), place);
		}
	}
	if (type === recordType.direct || type === recordType.overwrite) {
		const checksums = Uint32Array.from({ length: pages }, (_, page) => bytes.readUInt32LE(tableAt + page * 4));
		for (let page = 0; page < pages; page++) generation.put(firstPage + page, lsn, checksums[page] as number, placeLayer);
		return type === recordType.direct ? { lsn, firstPage, pages, checksums } : undefined;
	}
	if (!known.includes(type)) {
		throw new VolumeFault(`the write-ahead log has a record of type ${type}, which this build does not know (LSN ${lsn})`);
	}
	return undefined;
}

const known: readonly number[] = [recordType.write, recordType.zero, recordType.overwrite, recordType.pad, recordType.snapshot];

/** Pages of a direct record that its layer does not hold as the record says. */
async function compare({ firstPage, pages, checksums }: DirectCandidate, layer: Layer | undefined): Promise<number[]> {
	const bytes = Buffer.alloc(pages * pageBytes);
	const file = layer?.fileOf(firstPage);
	const mismatched: number[] = [];
	for (let attempt = 0; attempt < 2; attempt++) {
		if (file !== undefined && layer !== undefined) await readFully(file, bytes, layer.positionOf(firstPage));
		mismatched.length = 0;
		for (let page = 0; page < pages; page++) {
			if (pageChecksum(bytes.subarray(page * pageBytes, (page + 1) * pageBytes)) !== checksums[page]) mismatched.push(firstPage + page);
		}
		if (mismatched.length === 0) break;
	}
	return mismatched;
}

/** The parts of a record's range that no later record covers. */
function newestStretches(generation: Generation, lsn: number, firstPage: number, pages: number): { firstPage: number; pages: number }[] {
	const stretches: { firstPage: number; pages: number }[] = [];
	let isOpen = false;
	for (let page = firstPage; page < firstPage + pages; page++) {
		const last = stretches.at(-1);
		const newest = isNewest(generation, page, lsn);
		if (newest && isOpen && last !== undefined) last.pages++;
		else if (newest) stretches.push({ firstPage: page, pages: 1 });
		isOpen = newest;
	}
	return stretches;
}

function isNewest(generation: Generation, page: number, lsn: number): boolean {
	return generation.locationOf(generation.find(page)) === lsn && generation.zeros.lsnOf(page) < lsn;
}

/**
 * Writes the end of the log over itself. An fdatasync that failed leaves pages that the kernel calls clean and the disk does not have; read from memory they
 * look right. Written again they are dirty, and the next fdatasync means what it says.
 */
async function rewriteLog(reader: LogReader, fromLSN: number, toLSN: number, segmentBytes: number): Promise<void> {
	const chunk = Buffer.allocUnsafeSlow(1024 * 1024);
	for (let lsn = fromLSN; lsn < toLSN;) {
		const position = reader.positionOf(lsn);
		const bytes = Math.min(chunk.length, (toLSN - lsn) * unitBytes, segmentBytes - position);
		const file = reader.fileOf(lsn);
		if (file === undefined) throw new VolumeFault(`the write-ahead log has no segment for LSN ${lsn}`);
		const part = chunk.subarray(0, bytes);
		await readFully(file, part, position);
		await writeFully(file, part, position);
		lsn += bytes / unitBytes;
	}
}

/** The same for the data of direct records that were not known to be durable. */
async function rewriteDirect({ directs }: Pass, durableLSN: number): Promise<void> {
	for (const { lsn, firstPage, pages, generation, layer } of directs) {
		const file = layer?.fileOf(firstPage);
		if (lsn < durableLSN || file === undefined || layer === undefined) continue;
		for (const stretch of newestStretches(generation, lsn, firstPage, pages)) {
			const bytes = Buffer.allocUnsafeSlow(stretch.pages * pageBytes);
			await readFully(file, bytes, layer.positionOf(stretch.firstPage));
			await layer.write(stretch.firstPage, [bytes], stretch.pages);
		}
	}
}
