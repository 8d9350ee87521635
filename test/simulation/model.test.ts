import test from 'ava';
import { fillBlocks, writeNumbersOf } from './block-content.ts';
import { VolumeModel } from './model.ts';

const sizeBytes = 8 * 512;

function written(model: VolumeModel, number: number, firstBlock: number, blocks: number, fua = false): void {
	model.complete(model.submit(0, number, firstBlock * 512, blocks * 512, fua), 'good');
}

function flushed(model: VolumeModel): void {
	model.completeFlush(model.submitFlush(), 'good');
}

function seen(...numbers: number[]): Int32Array {
	return Int32Array.from({ length: 8 }, (_, index) => numbers[index] ?? 0);
}

test('a block tells its write; a torn, mixed or misplaced one is none', (t) => {
	const data = Buffer.alloc(1024);
	fillBlocks(data, 7, 100);
	t.deepEqual([...writeNumbersOf(data, 100)], [7, 7]);
	t.deepEqual([...writeNumbersOf(data, 101)], [-1, -1]);
	data[511] = (data[511] ?? 0) ^ 1;
	t.deepEqual([...writeNumbersOf(data, 100)], [-1, 7]);
	const zeros = Buffer.alloc(512);
	t.deepEqual([...writeNumbersOf(zeros, 5)], [0]);
	zeros[511] = 1;
	t.deepEqual([...writeNumbersOf(zeros, 5)], [-1]);
});

test('power loss: what was flushed must be there, what was not may be', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 2);
	flushed(model);
	written(model, 2, 0, 1);
	t.is(model.judge(seen(1, 1), model.clock, 'powerLost'), undefined);
	t.is(model.judge(seen(2, 1), model.clock, 'powerLost'), undefined);
	t.is(model.judge(seen(0, 1), model.clock, 'powerLost')?.block, 0);
	t.is(model.judge(seen(2, 0), model.clock, 'powerLost')?.block, 1);
});

test('kill: what was acknowledged must be there', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	t.is(model.judge(seen(0), model.clock, 'killed')?.block, 0);
	t.is(model.judge(seen(1), model.clock, 'killed'), undefined);
});

test('a flush promises only what had completed when it was submitted', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	const flush = model.submitFlush();
	written(model, 1, 0, 1);
	model.completeFlush(flush, 'good');
	t.is(model.judge(seen(0), model.clock, 'powerLost'), undefined);
});

test('an acknowledged FUA write must be there, an earlier one beside it must not', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	written(model, 2, 0, 1, true);
	t.is(model.judge(seen(2), model.clock, 'powerLost'), undefined);
	t.is(model.judge(seen(1), model.clock, 'powerLost')?.block, 0);
});

test('in order: what was acknowledged before a visible write was submitted must be visible too', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	written(model, 2, 1, 1);
	t.is(model.judge(seen(1, 0), model.clock, 'powerLost'), undefined);
	t.is(model.judge(seen(0, 2), model.clock, 'powerLost')?.block, 0);
});

test('two writes under way at once may be in either order, and one that was not acknowledged may be absent', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	const first = model.submit(0, 1, 0, 512, false);
	const second = model.submit(0, 2, 0, 512, false);
	for (const number of [0, 1, 2]) t.is(model.judge(seen(number), model.clock, 'killed'), undefined);
	model.complete(second, 'good');
	model.complete(first, 'good');
	for (const number of [1, 2]) t.is(model.judge(seen(number), model.clock, 'killed'), undefined);
	t.is(model.judge(seen(0), model.clock, 'killed')?.block, 0);
});

test('a write up to the atomic size is whole or absent, a longer one may be there in part', (t) => {
	const model = new VolumeModel(sizeBytes, 1024);
	model.submit(0, 1, 0, 1024, false);
	t.is(model.judge(seen(1, 0), model.clock, 'powerLost')?.block, 1);
	t.is(model.judge(seen(0, 0), model.clock, 'powerLost'), undefined);
	model.submit(0, 2, 2048, 2048, false);
	t.is(model.judge(seen(0, 0, 0, 0, 0, 2), model.clock, 'powerLost'), undefined);
});

test('zeros: of a command that came after the last flushed write, and not of before it', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	flushed(model);
	t.is(model.judge(seen(0), model.clock, 'powerLost')?.block, 0);
	model.submit(0, 0, 0, 512, false);
	t.is(model.judge(seen(0), model.clock, 'powerLost'), undefined);
});

test('a write that was refused for space must not be seen, one that failed may be', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	model.complete(model.submit(0, 1, 0, 512, false), 'noSpace');
	model.complete(model.submit(0, 2, 512, 512, false), 'faulted');
	t.is(model.judge(seen(1), model.clock, 'killed')?.block, 0);
	t.is(model.judge(seen(0, 2), model.clock, 'killed'), undefined);
});

test('a version that was never written to a block is wrong wherever it comes from', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	t.is(model.judge(seen(1, 1), model.clock, 'killed')?.block, 1);
	t.is(model.judge(seen(-1), model.clock, 'killed')?.block, 0);
});

test('a running read sees the last acknowledged write or one that was under way', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	const since = model.clock + 1;
	t.is(model.judgeRead(seen(1), 0, since), undefined);
	t.is(model.judgeRead(seen(0), 0, since)?.block, 0);
	model.submit(0, 2, 0, 512, false);
	t.is(model.judgeRead(seen(2), 0, since), undefined);
});

test('the next life after a power loss: what was shown stays, what was not never comes back', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	written(model, 2, 0, 1);
	const next = model.next(seen(1), model.clock, 'powerLost');
	t.is(next.judge(seen(1), next.clock, 'powerLost'), undefined);
	for (const number of [0, 2]) t.is(next.judge(seen(number), next.clock, 'powerLost')?.block, 0);
});

test('the next life after a kill: unflushed writes may still go, flushed ones may not, a write that did not survive never comes', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	written(model, 1, 0, 1);
	flushed(model);
	written(model, 2, 0, 1);
	model.submit(0, 3, 0, 512, false);
	const next = model.next(seen(2), model.clock, 'killed');
	t.is(next.judge(seen(2), next.clock, 'killed'), undefined);
	t.is(next.judge(seen(1), next.clock, 'killed')?.block, 0);
	t.is(next.judge(seen(3), next.clock, 'powerLost')?.block, 0);
	t.is(next.judge(seen(1), next.clock, 'powerLost'), undefined);
	t.is(next.judge(seen(0), next.clock, 'powerLost')?.block, 0);
	flushed(next);
	t.is(next.judge(seen(1), next.clock, 'powerLost')?.block, 0);
});

test('the next life after a kill: a FUA write that was under way promises nothing until a flush', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	model.submit(0, 1, 0, 512, true);
	const next = model.next(seen(1), model.clock, 'killed');
	t.is(next.judge(seen(0), next.clock, 'powerLost'), undefined);
	flushed(next);
	t.is(next.judge(seen(0), next.clock, 'powerLost')?.block, 0);
});

test('a resize that was acknowledged holds, one under way may or may not', (t) => {
	const model = new VolumeModel(sizeBytes, 4096);
	const resize = model.submitResize(sizeBytes * 2);
	t.is(model.judge(new Int32Array(8), model.clock, 'killed'), undefined);
	t.is(model.judge(new Int32Array(16), model.clock, 'killed'), undefined);
	model.completeResize(resize);
	t.not(model.judge(new Int32Array(8), model.clock, 'powerLost'), undefined);
});
