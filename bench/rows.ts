import type { LoadShape } from './load-shape.ts';

const kib = 1024;

/** One line of the comparison. Without a shape: libiscsi's iscsi-perf, random 4 KiB reads, 32 outstanding; not for NVMe. */
export interface Row {
	name: string;
	shape: LoadShape | undefined;
}

type Pattern = LoadShape['pattern'];

function row(name: string, op: LoadShape['op'], sizeBytes: number, depth: number, pattern: Pattern, rest: Partial<LoadShape> = {}): Row {
	return { name, shape: { op, sizeBytes, depth, pattern, lanes: 1, flushEvery: 0, ...rest } };
}

/** The depth of a row is that of each lane: `-4l` is four sessions, or four I/O queues, of so many each. */
const fourLanes = { lanes: 4 };

export const rows: readonly Row[] = [
	row('4k-random-read-qd1', 'read', 4 * kib, 1, 'random'),
	row('4k-random-read-qd32', 'read', 4 * kib, 32, 'random'),
	row('4k-random-read-qd128', 'read', 4 * kib, 128, 'random'),
	row('4k-random-read-qd1-4l', 'read', 4 * kib, 1, 'random', fourLanes),
	row('4k-random-read-qd32-4l', 'read', 4 * kib, 32, 'random', fourLanes),
	row('4k-random-read-qd128-4l', 'read', 4 * kib, 128, 'random', fourLanes),
	row('128k-sequential-read-qd8', 'read', 128 * kib, 8, 'sequential'),
	{ name: 'iscsi-perf-4k-random-read-qd32', shape: undefined },
	row('4k-random-write-qd1', 'write', 4 * kib, 1, 'random'),
	row('4k-random-write-qd32', 'write', 4 * kib, 32, 'random'),
	row('4k-random-write-qd128', 'write', 4 * kib, 128, 'random'),
	row('4k-random-write-qd1-4l', 'write', 4 * kib, 1, 'random', fourLanes),
	row('4k-random-write-qd32-4l', 'write', 4 * kib, 32, 'random', fourLanes),
	row('4k-random-write-qd128-4l', 'write', 4 * kib, 128, 'random', fourLanes),
	row('128k-sequential-write-qd8', 'write', 128 * kib, 8, 'sequential'),
	row('4m-sequential-write-qd4', 'write', 4096 * kib, 4, 'sequential'),
	// Four groups beside each other: eight writes at once, and when all are answered a flush.
	row('4k-random-write-flush-every-8-qd32', 'write', 4 * kib, 32, 'random', { flushEvery: 8 }),
];
