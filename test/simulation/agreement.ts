import * as fc from 'fast-check';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { SimulatedDisk } from './simulated-disk.ts';

const sizeBytes = 256 * 1024;
const directory = '/data/volume';
const tuning = {
	walSegmentsMax: 3,
	flushStartBytes: 64 * 1024,
	flushIdleMs: 0,
	dirtyPagesMax: 32,
	zeroRangesMax: 4,
	mapCacheBlocks: 8,
	directBytesMin: 16 * 1024,
	overwriteBytesMin: 8 * 1024,
};

type Step =
	| { kind: 'write'; first: number; blocks: number; fill: number }
	| { kind: 'zero'; first: number; blocks: number }
	| { kind: 'flush' | 'flushToLayers' | 'reopen' | 'kill' };

const range = { first: fc.nat(511), blocks: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 512 })) };
const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 5, arbitrary: fc.record({ kind: fc.constant('write'), ...range, fill: fc.integer({ min: 1, max: 255 }) }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant('zero'), ...range }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('flush', 'flushToLayers', 'reopen', 'kill') }) },
);

/** Runs sequences of commands and restarts, one at a time, against a model that is a plain buffer. Throws with the smallest sequence that disagrees. */
export async function agreeOnSequences(runs: number, seed?: number): Promise<void> {
	await fc.assert(
		fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(), async (steps, diskSeed) => {
			await agree(steps, diskSeed);
		}),
		{ numRuns: runs, ...(seed === undefined ? {} : { seed }) },
	);
}

async function agree(steps: readonly Step[], seed: number): Promise<void> {
	let disk = new SimulatedDisk({ seed });
	await disk.makeDirectory('/data');
	await Volume.create(disk, directory, {
		uuid: '0b0e6a44-6f6b-4c59-9d0e-7c3c9a1f2b11',
		sizeBytes,
		blockSize: 512,
		segmentBytes: 64 * 1024,
		sliceBytes: 128 * 1024,
	});
	let volume = await Volume.open(disk, directory, { log: silent, tuning });
	const expected = Buffer.alloc(sizeBytes);
	for (const one of steps) {
		if (one.kind === 'write' || one.kind === 'zero') {
			const offset = one.first * 512;
			const length = Math.min(one.blocks * 512, sizeBytes - offset);
			const fill = one.kind === 'write' ? one.fill : 0;
			expected.fill(fill, offset, offset + length);
			if (one.kind === 'write') await good((completion) => volume.write(offset, Buffer.alloc(length, fill), false, completion));
			else await good((completion) => volume.zero(offset, length, false, completion));
		} else if (one.kind === 'flush') await good((completion) => volume.flush(completion));
		else if (one.kind === 'flushToLayers') await volume.flushToLayers();
		else {
			if (one.kind === 'reopen') await volume.close();
			else {
				volume.abandon();
				const killed = disk.killed(seed);
				disk.freeze();
				disk = killed;
			}
			volume = await Volume.open(disk, directory, { log: silent, tuning });
		}
		const seen = Buffer.alloc(sizeBytes, 0x77);
		await good((completion) => volume.read(0, seen, completion));
		if (!seen.equals(expected))
			throw new Error(`after ${JSON.stringify(one)} the volume differs at byte ${seen.findIndex((byte, at) => byte !== expected[at])}`);
	}
	await volume.close();
	const findings = await checkVolume(disk, directory);
	if (findings.length > 0) throw new Error(findings.map((finding) => finding.message).join('; '));
}

async function good(start: (completion: { complete(outcome: Outcome): void }) => void): Promise<void> {
	const outcome = await new Promise<Outcome>((resolve) => {
		start({ complete: resolve });
	});
	if (outcome !== 'good') throw new Error(`ended with ${outcome}`);
}
