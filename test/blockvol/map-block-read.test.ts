import test from 'ava';
import { readSoundBlock } from '../../src/blockvol/map-block-read.ts';
import { blockBytes, entryOffset, sealSectors } from '../../src/blockvol/page-map-block.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

const layer = 7;

/** A map with entries in block 0 and none in block 1; what each read of it is to meet. */
async function read(
	blockIndex: number,
	expectsEntries: boolean,
	faults: readonly ('flip' | 'elsewhere' | 'good')[],
): Promise<{ damaged: number; first: number; reads: number }> {
	const disk = new SimulatedDisk({ seed: 1 });
	const file = await disk.open('/map', 'create');
	const block = Buffer.alloc(blockBytes);
	block.writeUInt32LE(0xabcdef, entryOffset(0));
	sealSectors(block, layer, 0, 1);
	await file.write(Buffer.concat([block, Buffer.alloc(blockBytes)]), 0);
	let reads = 0;
	disk.faultRule = ({ kind }) => {
		if (kind !== 'read') return undefined;
		const fault = faults[reads++];
		if (fault === 'flip') return { kind: 'flippedBit', byteIndex: 40, bit: 3 };
		return fault === 'elsewhere' ? { kind: 'misdirected', byBytes: blockIndex === 0 ? blockBytes : -blockBytes } : undefined;
	};
	const target = Buffer.alloc(blockBytes);
	const damaged = await readSoundBlock(file, layer, blockIndex, target, expectsEntries);
	return { damaged, first: target.readUInt32LE(entryOffset(0)), reads };
}

test('a sound block is read once', async (t) => {
	t.deepEqual(await read(0, true, []), { damaged: 0, first: 0xabcdef, reads: 1 });
	t.deepEqual(await read(1, false, []), { damaged: 0, first: 0, reads: 1 });
});

test('one misread of three does no harm, whichever it is', async (t) => {
	for (const lie of ['flip', 'elsewhere'] as const) {
		t.deepEqual(await read(0, true, [lie]), { damaged: 0, first: 0xabcdef, reads: 2 });
		for (const at of [0, 1]) {
			const faults = [0, 1, 2].map((index) => (index === at ? lie : 'good'));
			const { damaged, first } = await read(1, true, faults);
			t.deepEqual([damaged, first], [0, 0], `${lie} at read ${at} of an empty block`);
		}
	}
});

test('a block that is damaged in each read is damaged', async (t) => {
	t.deepEqual(await read(0, true, ['flip', 'flip', 'flip']), { damaged: 1, first: 0xabcdef, reads: 3 });
});
