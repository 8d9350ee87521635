import test from 'ava';
import { BlockModel, blockBytes } from './block-model.ts';

const volumeBlocks = 64;

function words(blocks: number): Uint32Array {
	return new Uint32Array((blocks * blockBytes) / 4);
}

/** A model and a perfect disk beside it. */
function start() {
	const model = new BlockModel(volumeBlocks);
	const disk = words(volumeBlocks);
	const write = (lba: number, blocks: number) => {
		const submitted = model.submit('write', lba, blocks);
		const data = words(blocks);
		model.stamp(submitted, data);
		return { submitted, data, apply: () => disk.set(data, (lba * blockBytes) / 4) };
	};
	const trim = (lba: number, blocks: number) => ({
		submitted: model.submit('zero', lba, blocks),
		apply: () => disk.fill(0, (lba * blockBytes) / 4, ((lba + blocks) * blockBytes) / 4),
	});
	return { model, disk, write, trim, judge: () => model.check(0, disk) };
}

test('an untouched volume is zeros, and nothing else', (t) => {
	const { disk, judge } = start();
	t.is(judge(), undefined);
	disk[(7 * blockBytes) / 4 + 100] = 1;
	t.is(judge()?.lba, 7);
});

test('an answered write that is missing is found, with its LBA', (t) => {
	const { model, write, judge } = start();
	const lost = write(3, 4);
	t.is(judge(), undefined, 'not answered: old is right');
	model.answer(lost.submitted);
	t.is(judge()?.lba, 3);
	lost.apply();
	t.is(judge(), undefined);
});

test('a write in flight may be there in any of its blocks', (t) => {
	const { disk, write, judge } = start();
	const torn = write(0, 8);
	disk.set(torn.data.subarray(0, blockBytes / 4), 0);
	disk.set(torn.data.subarray((5 * blockBytes) / 4, (6 * blockBytes) / 4), (5 * blockBytes) / 4);
	t.is(judge(), undefined);
});

test('a block that is half one write and half another is found', (t) => {
	const { disk, write, judge } = start();
	const first = write(2, 1);
	const second = write(2, 1);
	disk.set(first.data.subarray(0, 64), (2 * blockBytes) / 4);
	disk.set(second.data.subarray(64), (2 * blockBytes) / 4 + 64);
	t.is(judge()?.lba, 2);
});

test('of two writes that overlapped in time either may win; of two in a row only the later', (t) => {
	const { model, write, judge } = start();
	const first = write(10, 2);
	const second = write(10, 2);
	model.answer(second.submitted);
	model.answer(first.submitted);
	first.apply();
	t.is(judge(), undefined);
	second.apply();
	t.is(judge(), undefined);
	const third = write(11, 1);
	model.answer(third.submitted);
	t.is(judge()?.lba, 11, 'both are superseded now in block 11');
	third.apply();
	t.is(judge(), undefined);
});

test('a write that was overtaken while in flight is not superseded by a write answered before', (t) => {
	const { model, write, judge } = start();
	const slow = write(20, 1);
	const quick = write(20, 1);
	quick.apply();
	model.answer(quick.submitted);
	slow.apply();
	t.is(judge(), undefined, 'slow was never answered, so it may come last');
});

test('a write of another place, or of a round before, is found', (t) => {
	const { model, disk, write, judge } = start();
	const old = write(5, 1);
	old.apply();
	model.answer(old.submitted);
	disk.set(old.data, (6 * blockBytes) / 4);
	t.is(judge()?.lba, 6, 'misplaced');
	disk.fill(0, (6 * blockBytes) / 4, (7 * blockBytes) / 4);
	const next = write(5, 1);
	next.apply();
	model.answer(next.submitted);
	t.is(judge(), undefined);
	model.settle(0, disk);
	model.endRound();
	t.is(judge(), undefined);
	old.apply();
	t.is(judge()?.lba, 5, 'came back from before the settled one');
});

test('a write in flight at the end of a round is settled as it was read: it may not appear later', (t) => {
	const { model, disk, write, judge } = start();
	const ghost = write(30, 1);
	model.settle(0, disk);
	model.endRound();
	t.is(judge(), undefined);
	ghost.apply();
	t.is(judge()?.lba, 30);
});

test('an answered trim makes zeros, until a later write is answered', (t) => {
	const { model, write, trim, judge } = start();
	const before = write(40, 2);
	before.apply();
	model.answer(before.submitted);
	const trimmed = trim(40, 2);
	t.is(judge(), undefined, 'in flight: old is right');
	model.answer(trimmed.submitted);
	t.is(judge()?.lba, 40);
	trimmed.apply();
	t.is(judge(), undefined);
	const after = write(41, 1);
	model.answer(after.submitted);
	t.is(judge()?.lba, 41);
	after.apply();
	t.is(judge(), undefined);
});

test('a read under load is judged by what was answered when it was submitted', (t) => {
	const { model, disk, write } = start();
	const floor = model.snapshot(0, volumeBlocks);
	const later = write(50, 1);
	model.answer(later.submitted);
	t.is(model.check(0, disk, floor), undefined, 'the read may have passed before the write');
	t.is(model.check(0, disk, model.snapshot(0, volumeBlocks))?.lba, 50);
	later.apply();
	t.is(model.check(0, disk, floor), undefined, 'or after it');
});
