import type { DiskFile } from '../../src/os/disk.ts';
import { readFully } from '../../src/os/transfer.ts';
import { slotBytes, SuperblockFile } from '../../src/blockvol/superblock.ts';
import { VolumeFault } from '../../src/blockvol/volume-fault.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { createVolume, Life } from './life.ts';
import { observeDamaged } from './observe.ts';
import { unreadable } from './model.ts';
import { Random, seedOf } from './random.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { drawSetting, drawSteps } from './workload.ts';

const directory = '/data/volume';
/**
 * Of a record's header the lowest bytes of epoch, type, first page (two) and count: changed, they hold what might well stand there, so that only the checksum can tell. Elsewhere a flipped bit
 * makes an address outside of the volume, or no record at all.
 */
const believableBytes = [24, 28, 32, 33, 40];

export interface DamageExplored {
	runs: number;
	refused: number;
	unreadableBlocks: number;
}

/**
 * A bit flips at rest, while the volume is closed or dead: whatever a read returns as good is right, or the volume refuses to open and says why. (A flipped bit in
 * the log's last record looks like a record that a crash cut off; so of a damaged log only its order is asked, and that nothing is there that was not written.)
 */
export async function exploreDamage(seed: number, flips: number): Promise<DamageExplored> {
	const result: DamageExplored = { runs: 0, refused: 0, unreadableBlocks: 0 };
	const random = new Random(seedOf(seed, 11));
	const drawn = drawSetting(random.branch());
	// Damage to a region that was being overwritten when the process ended is taken for a part of the overwrite (docs/format.md, "marks").
	const setting = { ...drawn, isTight: false, tuning: { ...drawn.tuning, overwriteBytesMin: Infinity } };
	const numbers = { last: 0 };
	const disk = new SimulatedDisk({ seed });
	await disk.makeDirectory('/data');
	const life = new Life(disk, await createVolume(disk, directory, setting), { directory, setting, random: random.branch(), numbers });
	await life.open();
	await withinTime(
		life.run(drawSteps(random.branch(), setting, random.pick([4, 30]), { restarts: false })),
		`seed ${seed}, before any damage`,
	);
	const isClean = random.chance(0.25);
	if (isClean) await life.close();
	const { at } = life.model.moment('killed');
	life.volume.abandon();
	disk.freeze();
	const files = disk.paths().filter((path) => /\.data$|\.map$|\.wal$|\/superblock$/.test(path));
	const checkpointLSN = await checkpointOf(disk.killed(0));
	// Segments that recovery reads, if it reads any.
	const liveLog = files.filter((path) => Number(/(\d+)\.wal$/.exec(path)?.[1]) + setting.segmentBytes / 64 > checkpointLSN);
	for (let flip = 0; flip < flips; flip++) {
		const damaged = disk.killed(flip);
		const path = random.chance(0.2) ? `${directory}/superblock` : random.pick(random.chance(0.4) ? liveLog : files);
		const file = await damaged.open(path, 'readOnly');
		const data = await file.nextData(random.below(await file.sizeBytes()));
		if (data === undefined) continue;
		// Data that was written directly belongs to the log until the checkpoint has passed its record.
		const isLog = path.endsWith('.wal') || (path.endsWith('.data') && !isClean && setting.tuning.directBytesMin !== Infinity);
		const position = await drawPosition(path, file, data, checkpointLSN, random);
		damaged.flipBit(path, position, random.below(8));
		result.runs++;
		const next = new Life(damaged, life.model, { directory, setting, random: random.branch(), numbers });
		try {
			await withinTime(next.open(), 'opening');
			const observed = await withinTime(observeDamaged(next.device), 'reading');
			result.unreadableBlocks += observed.filter((block) => block === unreadable).length;
			const finding = life.model.judge(observed, at, isLog ? 'logCut' : 'killed');
			if (finding !== undefined) throw new SimulationFailure(`512-byte LBA ${finding.block ?? '?'}: ${finding.text}`);
			next.volume.abandon();
		} catch (error) {
			if (error instanceof VolumeFault) {
				result.refused++;
				continue;
			}
			throw new SimulationFailure(
				`${messageOf(error)}\n  seed ${seed}, flip ${flip}: ${path} byte ${position}, ${isClean ? 'after a clean stop' : 'killed'}\n  again: npx node test/simulation/reproduce.ts damage --seed ${seed}`,
				{
					cause: error,
				},
			);
		}
	}
	return result;
}

/** Bytes that mean something: of a slot of the superblock, of a record's header or table, of the first pages of a stretch of data. */
async function drawPosition(
	path: string,
	file: DiskFile,
	data: { startBytes: number; endBytes: number },
	checkpointLSN: number,
	random: Random,
): Promise<number> {
	if (path.endsWith('/superblock')) return random.pick([0, slotBytes]) + random.below(220);
	if (!path.endsWith('.wal')) return random.between(data.startBytes, Math.min(data.endBytes, data.startBytes + 8192) - 1);
	const content = Buffer.alloc(await file.sizeBytes());
	await readFully(file, content, 0);
	const headers: number[] = [];
	for (let at = 0; at < content.length; at += 64) {
		const isHeader = content.toString('latin1', at + 4, at + 8) === 'BVWR';
		// What the checkpoint has passed is never read again.
		if (isHeader && content.readUIntLE(at + 16, 6) >= checkpointLSN) headers.push(at);
	}
	if (headers.length === 0 || random.chance(0.2)) return random.below(content.length);
	return random.pick(headers) + (random.chance(0.6) ? random.pick(believableBytes) : random.below(128));
}

async function checkpointOf(disk: SimulatedDisk): Promise<number> {
	const superblock = await SuperblockFile.open(disk, `${directory}/superblock`, 'readOnly');
	await superblock.close();
	return superblock.current.checkpointLSN;
}
