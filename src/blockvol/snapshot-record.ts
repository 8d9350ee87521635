import { limits } from './limits.ts';
import { readU64, writeU64 } from './u64.ts';

/** What the log's record of a snapshot tells: docs/format.md, "snapshot". */
export interface SnapshotCut {
	/** Random, below 2^48. */
	readonly id: number;
	/** 1 to limits.snapshotNameBytes bytes of UTF-8. */
	readonly name: string;
	/** Milliseconds since 1970, UTC. */
	readonly timeMs: number;
	/** Size of the volume at that moment. */
	readonly sizeBytes: number;
	/** The layer that takes what is written from here on. */
	readonly newLayer: number;
}

/** Bytes behind the header of a snapshot record. */
export const snapshotBodyBytes = 128;

const nameAt = 40;

export function encodeCut(target: Buffer, at: number, cut: SnapshotCut): void {
	const nameBytes = Buffer.byteLength(cut.name);
	if (nameBytes === 0 || nameBytes > limits.snapshotNameBytes) throw new RangeError(`a snapshot name of ${nameBytes} bytes`);
	target.fill(0, at, at + snapshotBodyBytes);
	writeU64(target, cut.id, at);
	writeU64(target, cut.timeMs, at + 8);
	writeU64(target, cut.sizeBytes, at + 16);
	writeU64(target, cut.newLayer, at + 24);
	target.writeUInt32LE(nameBytes, at + 32);
	target.write(cut.name, at + nameAt, 'utf8');
}

export function decodeCut(source: Buffer, at: number): SnapshotCut {
	const nameBytes = Math.min(source.readUInt32LE(at + 32), limits.snapshotNameBytes);
	return {
		id: readU64(source, at),
		timeMs: readU64(source, at + 8),
		sizeBytes: readU64(source, at + 16),
		newLayer: readU64(source, at + 24),
		name: source.toString('utf8', at + nameAt, at + nameAt + nameBytes),
	};
}
