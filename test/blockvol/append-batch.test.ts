import test from 'ava';
import { AppendBatch } from '../../src/blockvol/append-batch.ts';
import { WalSegment } from '../../src/blockvol/wal-segment.ts';
import { ScriptedFile } from '../os/scripted-file.ts';

const page = 4096;

function segment(sequence: number): WalSegment {
	return new WalSegment(sequence, `/${sequence}`, new ScriptedFile(0, []));
}

/** The bytes of each run as they go to the disk. */
function bytesOf(batch: AppendBatch): { sequence: number; positionBytes: number; bytes: Buffer }[] {
	return batch.runs.map((run) => ({ sequence: run.segment.sequence, positionBytes: run.positionBytes, bytes: Buffer.concat(run.parts) }));
}

function stage(batch: AppendBatch, where: WalSegment, positionBytes: number, lengthBytes: number, value: number): void {
	const at = batch.stage(where, positionBytes, lengthBytes);
	batch.staging.fill(value, at, at + lengthBytes);
}

test('staged and lent bytes stand in the order in which they came, and the last page is filled with zeros', (t) => {
	const batch = new AppendBatch();
	const first = segment(0);
	batch.staging.fill(0xee);
	stage(batch, first, 128, 64, 1);
	batch.refer(Buffer.alloc(page, 2));
	stage(batch, first, 128 + 64 + page, 64, 3);
	stage(batch, first, 256 + page, 64, 4);
	batch.seal();
	const [run] = bytesOf(batch);
	t.is(batch.runs.length, 1);
	t.is(run?.positionBytes, 128);
	t.is(batch.runs[0]?.lengthBytes, 3 * 64 + page);
	const expected = [Buffer.alloc(64, 1), Buffer.alloc(page, 2), Buffer.alloc(64, 3), Buffer.alloc(64, 4)];
	t.true(run?.bytes.equals(Buffer.concat([...expected, Buffer.alloc(page - 128 - 3 * 64)])));
});

test('records over the end of a segment go in two runs, each filled up to a page on its own', (t) => {
	const batch = new AppendBatch();
	batch.staging.fill(0xee);
	stage(batch, segment(0), 8000, 64, 1);
	stage(batch, segment(1), 0, 64, 2);
	batch.refer(Buffer.alloc(100, 3));
	batch.seal();
	const [first, second] = bytesOf(batch);
	t.true(first?.bytes.equals(Buffer.concat([Buffer.alloc(64, 1), Buffer.alloc(2 * page - 8064)])));
	t.is(second?.sequence, 1);
	t.true(second?.bytes.equals(Buffer.concat([Buffer.alloc(64, 2), Buffer.alloc(100, 3), Buffer.alloc(page - 164)])));
});

test('a run that ends with a page gets no filling', (t) => {
	const batch = new AppendBatch();
	stage(batch, segment(0), page - 64, 64, 1);
	batch.seal();
	t.is(bytesOf(batch)[0]?.bytes.length, 64);
});

test('touches knows the pages of each record, and not those beside them', (t) => {
	const batch = new AppendBatch();
	const record = batch.addRecord();
	record.firstPage = 10;
	record.pages = 5;
	t.true(batch.touches(14, 15));
	t.true(batch.touches(0, 11));
	t.true(batch.touches(12, 13));
	t.false(batch.touches(15, 99));
	t.false(batch.touches(0, 10));
});

test('a cleared batch is empty, lets go of the owners, and its records are used again', (t) => {
	const batch = new AppendBatch();
	const record = batch.addRecord();
	record.owner = { recordInstalled() {}, recordFailed() {} };
	stage(batch, segment(0), 0, 64, 1);
	t.false(batch.isEmpty);
	batch.clear();
	t.true(batch.isEmpty);
	t.deepEqual(
		[record].map(({ owner }) => owner),
		[undefined],
	);
	t.is(batch.used, 0);
	t.is(batch.addRecord(), record);
});

test('the staging buffer has room for the longest record and a pad, and says when it has no more', (t) => {
	const batch = new AppendBatch();
	const longest = 64 + 1088 + 257 * page;
	t.true(batch.hasRoom(longest + 64));
	const where = segment(0);
	let position = 0;
	while (batch.hasRoom(longest)) {
		batch.stage(where, position, longest);
		position += longest;
	}
	t.true(batch.used <= batch.staging.length - page);
	t.true(batch.used >= longest);
});
