import { limits } from './limits.ts';
import { entriesOfList, entryBytes, hashBytes, listsOf, sha256, treeOfRootsInSteps, treeOfZeros } from './merkle-tree.ts';
import { generationBytes, isId } from './object-keys.ts';
import { parseJson } from './repository.ts';
import { ArchiveError, type Manifest, type ManifestSummary } from './repository-types.ts';
import { atOnce, inTurns, type Steps } from './steps.ts';

/**
 * A manifest's plain bytes (docs/archive-format.md, "Manifest"): length of the JSON, JSON, a row for each list, SHA-256 of all that.
 * A row: the hash and generation of the list's object (zeros: the list is zero chunks only and has no object), the root of its tree, and u32 how many of its chunks are not zeros.
 */
export const rowBytes = entryBytes + hashBytes + 4;
const rowRootAt = entryBytes;
const rowDataChunksAt = entryBytes + hashBytes;
const lengthBytes = 4;

/** Some 1 µs each. */
const rowsPerStep = 1024;

interface Totals {
	readonly merkleRoot: string;
	readonly dataBytes: number;
}

export const manifestBytesMax = lengthBytes + limits.jsonBytesMax + limits.listsMax * rowBytes + hashBytes;

export function encodeManifest(manifest: Manifest): Buffer {
	const { segments, ...summary } = manifest;
	const json = Buffer.from(JSON.stringify(summary));
	const plain = Buffer.alloc(lengthBytes + json.length + segments.length + hashBytes);
	plain.writeUInt32LE(json.length, 0);
	plain.set(json, lengthBytes);
	plain.set(segments, lengthBytes + json.length);
	const end = plain.length - hashBytes;
	plain.set(sha256(plain.subarray(0, end)), end);
	return plain;
}

/** ArchiveError `corrupt`, also if it is not the manifest of this id. */
export function decodeManifest(plain: Buffer, id: string, key: string): Manifest {
	return atOnce(decoded(plain, id, key));
}

/** The same, for one that may be large: that of a volume of 64 TiB takes 35 to 150 ms, and everybody else's commands have their turns between. */
export function decodeManifestInTurns(plain: Buffer, id: string, key: string): Promise<Manifest> {
	return inTurns(decoded(plain, id, key));
}

function* decoded(plain: Buffer, id: string, key: string): Steps<Manifest> {
	const corrupt = (what: string): ArchiveError => new ArchiveError('corrupt', `${key} ${what}`, { object: key });
	const end = plain.length - hashBytes;
	if (end < lengthBytes || !sha256(plain.subarray(0, end)).equals(plain.subarray(end))) throw corrupt('does not match its checksum');
	const jsonBytes = plain.readUInt32LE(0);
	if (jsonBytes > limits.jsonBytesMax || lengthBytes + jsonBytes > end) throw corrupt('has lengths that cannot be');
	const value = parseJson(plain.subarray(lengthBytes, lengthBytes + jsonBytes), key);
	if (!isSummary(value)) throw corrupt('does not say what a manifest should');
	if (value.id !== id) throw corrupt(`is the manifest ${value.id}`);
	const segments = Buffer.from(plain.subarray(lengthBytes + jsonBytes, end));
	const lists = listsOf(value.chunks);
	if (segments.length !== lists * rowBytes) throw corrupt('does not have a row for each of its lists');
	for (let list = 0; list < lists; list++) {
		const row = rowOf(segments, list);
		const count = entriesOfList(value.chunks, list);
		if (isZeroRow(row) ? !row.equals(zeroRow(count)) : dataChunksOf(row) > count)
			throw corrupt(`has a row for list ${list} that cannot be`);
		if ((list + 1) % rowsPerStep === 0) yield;
	}
	if ((yield* totals(segments, value.chunkBytes, value.volume.sizeBytes)).merkleRoot !== value.merkleRoot)
		throw corrupt('has lists that do not add up to its root');
	return { ...value, segments };
}

export function summaryOf(manifest: Manifest): ManifestSummary {
	const { segments: _segments, ...summary } = manifest;
	return summary;
}

/** Row of a list in a table of rows; a view. */
export function rowOf(segments: Buffer, list: number): Buffer {
	return segments.subarray(list * rowBytes, (list + 1) * rowBytes);
}

/** Root of a list's tree; a view. */
export function rootOf(row: Buffer): Buffer {
	return row.subarray(rowRootAt, rowDataChunksAt);
}

export function dataChunksOf(row: Buffer): number {
	return row.readUInt32LE(rowDataChunksAt);
}

/** `entry`: hash and generation of the list's object. */
export function encodeRow(entry: Uint8Array, root: Uint8Array, dataChunks: number): Buffer {
	const row = Buffer.alloc(rowBytes);
	row.set(entry, 0);
	row.set(root, rowRootAt);
	row.writeUInt32LE(dataChunks, rowDataChunksAt);
	return row;
}

/** Of a list that is zero chunks only. */
export function zeroRow(count: number): Buffer {
	return encodeRow(new Uint8Array(entryBytes), treeOfZeros(count), 0);
}

/** What the lists add up to: root and bytes that are not elided. */
export function totalsOf(segments: Buffer, chunkBytes: number, sizeBytes: number): Totals {
	return atOnce(totals(segments, chunkBytes, sizeBytes));
}

export function totalsInTurns(segments: Buffer, chunkBytes: number, sizeBytes: number): Promise<Totals> {
	return inTurns(totals(segments, chunkBytes, sizeBytes));
}

function* totals(segments: Buffer, chunkBytes: number, sizeBytes: number): Steps<Totals> {
	const roots: Buffer[] = [];
	let dataChunks = 0;
	for (let at = 0; at < segments.length; at += rowBytes) {
		const row = segments.subarray(at, at + rowBytes);
		roots.push(rootOf(row));
		dataChunks += dataChunksOf(row);
	}
	const root = yield* treeOfRootsInSteps(roots);
	return { merkleRoot: root.toString('hex'), dataBytes: Math.min(dataChunks * chunkBytes, sizeBytes) };
}

/** Whether a row, or an entry, has no object: zeros need none. */
export function isZeroRow(row: Uint8Array): boolean {
	for (let at = 0; at < hashBytes + generationBytes; at++) if (row[at] !== 0) return false;
	return true;
}

export function chunksOf(sizeBytes: number, chunkBytes: number): number {
	return Math.ceil(sizeBytes / chunkBytes);
}

/** The last chunk of a volume may be shorter. */
export function chunkLength(
	manifest: { readonly volume: { readonly sizeBytes: number }; readonly chunkBytes: number },
	index: number,
): number {
	return Math.min(manifest.chunkBytes, manifest.volume.sizeBytes - index * manifest.chunkBytes);
}

function isSummary(value: Record<string, unknown>): value is Record<string, unknown> & ManifestSummary {
	const { id, volume, snapshot, parent, chunkBytes, chunks, merkleRoot, createdMs, dataBytes, uploadedBytes, tool } = value;
	if (!isRecord(volume) || !isRecord(snapshot)) return false;
	return (
		typeof id === 'string' &&
		isId(id) &&
		isText(volume['uuid']) &&
		isText(volume['name']) &&
		(volume['blockSize'] === 512 || volume['blockSize'] === 4096) &&
		isCount(volume['sizeBytes']) &&
		volume['sizeBytes'] > 0 &&
		isCount(snapshot['id']) &&
		isText(snapshot['name']) &&
		typeof snapshot['timeMs'] === 'number' &&
		isCount(snapshot['lsn']) &&
		typeof parent === 'string' &&
		(parent === '' || isId(parent)) &&
		isCount(chunkBytes) &&
		chunkBytes >= limits.chunkBytesMin &&
		chunkBytes <= limits.chunkBytesMax &&
		Number.isInteger(Math.log2(chunkBytes)) &&
		isCount(chunks) &&
		chunks === chunksOf(volume['sizeBytes'], chunkBytes) &&
		listsOf(chunks) <= limits.listsMax &&
		typeof merkleRoot === 'string' &&
		/^[0-9a-f]{64}$/.test(merkleRoot) &&
		typeof createdMs === 'number' &&
		isCount(dataBytes) &&
		isCount(uploadedBytes) &&
		isText(tool)
	);
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null;
}

function isText(value: unknown): value is string {
	return typeof value === 'string' && value.length <= limits.nameLength;
}

function isCount(value: unknown): value is number {
	return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
