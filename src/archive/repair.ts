import { ChunkReader, fetchChunk } from './chunk-reader.ts';
import { limits } from './limits.ts';
import { readList } from './list-reader.ts';
import { chunkLength, isZeroRow } from './manifest.ts';
import { entryBytes, hashBytes } from './merkle-tree.ts';
import { contentKey } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type Manifest, type RepairResult, type SnapshotSource, completed } from './repository-types.ts';
import { pageBytes } from '../blockvol/limits.ts';

export interface RepairOptions {
	readonly signal?: AbortSignal;
	/** Bytes of the volume; default all. */
	readonly range?: { readonly offsetBytes: number; readonly lengthBytes: number };
}

/**
 * Uploads the chunks of a manifest that are missing or corrupt, from a volume or snapshot that may still hold them: what it holds is taken only if it is, byte for byte, what the manifest says. Objects keep
 * their keys, so every manifest that needs one is whole again.
 *
 * ArchiveError missing, corrupt: a list; what chunks there were is not known then, and archiving the snapshot anew is the mend.
 */
export async function repairChunks(
	repository: Repository,
	manifest: Manifest,
	device: Pick<SnapshotSource['device'], 'read' | 'sizeBytes'>,
	{ signal, range }: RepairOptions = {},
): Promise<RepairResult> {
	const [first, end] = chunksOfRange(manifest, range ?? { offsetBytes: 0, lengthBytes: manifest.volume.sizeBytes });
	const result = { checkedChunks: 0, repairedChunks: 0, lostChunks: 0 };
	let entries: Buffer | undefined;
	for (let chunk = first; chunk < end; chunk++) {
		signal?.throwIfAborted();
		const list = Math.floor(chunk / limits.entriesPerList);
		if (entries === undefined || chunk % limits.entriesPerList === 0) entries = await readList(repository, manifest, list, signal);
		const at = (chunk - list * limits.entriesPerList) * entryBytes;
		const entry = entries.subarray(at, at + entryBytes);
		if (isZeroRow(entry)) continue;
		result.checkedChunks++;
		if (await isWhole(repository, manifest, chunk, entry, signal)) continue;
		if (await upload(repository, manifest, chunk, entry, device, signal)) result.repairedChunks++;
		else result.lostChunks++;
	}
	return result;
}

/**
 * What a manifest says that pages hold, checked, for a scrub that has found them damaged. In the volume the pages may be newer than the snapshot: whoever asks has to know that they were not written since.
 * ArchiveError missing, corrupt; StoreError.
 */
export async function readGoodPages(
	repository: Repository,
	manifest: Manifest,
	range: { readonly firstPage: number; readonly pages: number },
	signal?: AbortSignal,
): Promise<Buffer> {
	const reader = new ChunkReader(repository, manifest);
	const offsetBytes = range.firstPage * pageBytes;
	const bytes = Buffer.alloc(range.pages * pageBytes);
	if (offsetBytes + bytes.length > manifest.volume.sizeBytes)
		throw new RangeError(`pages to byte ${offsetBytes + bytes.length} of ${manifest.volume.sizeBytes}`);
	const [first, end] = chunksOfRange(manifest, { offsetBytes, lengthBytes: bytes.length });
	for (let chunk = first; chunk < end; chunk++) {
		const from = chunk * manifest.chunkBytes;
		const plain = await reader.read(chunk, signal);
		const start = Math.max(0, offsetBytes - from);
		plain.copy(bytes, Math.max(0, from - offsetBytes), start, Math.min(plain.length, offsetBytes + bytes.length - from));
	}
	return bytes;
}

function chunksOfRange(manifest: Manifest, { offsetBytes, lengthBytes }: { offsetBytes: number; lengthBytes: number }): [number, number] {
	return [
		Math.floor(offsetBytes / manifest.chunkBytes),
		Math.min(manifest.chunks, Math.ceil((offsetBytes + lengthBytes) / manifest.chunkBytes)),
	];
}

async function isWhole(
	repository: Repository,
	manifest: Manifest,
	chunk: number,
	entry: Buffer,
	signal: AbortSignal | undefined,
): Promise<boolean> {
	try {
		await fetchChunk(repository, manifest, chunk, entry, signal);
		return true;
	} catch (error) {
		if (error instanceof ArchiveError && (error.code === 'missing' || error.code === 'corrupt')) return false;
		throw error;
	}
}

/** Whether the device held what is wanted. */
async function upload(
	repository: Repository,
	manifest: Manifest,
	chunk: number,
	entry: Buffer,
	device: Pick<SnapshotSource['device'], 'read' | 'sizeBytes'>,
	signal: AbortSignal | undefined,
): Promise<boolean> {
	const bytes = new Uint8Array(chunkLength(manifest, chunk));
	const offsetBytes = chunk * manifest.chunkBytes;
	if (offsetBytes + bytes.length > device.sizeBytes) return false;
	const outcome = await completed((completion) => device.read(offsetBytes, bytes, completion));
	// A page of it that is damaged here, too, is as bad as one that has changed.
	if (outcome !== 'good') return false;
	const { plain, hash } = await repository.codec.hash(bytes);
	if (Buffer.compare(hash, entry.subarray(0, hashBytes)) !== 0) return false;
	const { object } = await repository.codec.seal('chunk', plain);
	await repository.store.put(contentKey(repository, 'chunk', entry), object, signalOf(signal));
	return true;
}
