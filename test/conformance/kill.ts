/**
 * kill -9 at random moments under load: every acknowledged write is there afterwards, a write in flight is old or new per block.
 *
 *     node test/conformance/kill.ts [--rounds 50] [--seed N] [--size-mib 512] [--server blockport|tgtd] [--mutation early-ack|flip]
 *
 * KILL_ROUNDS and KILL_SEED do the same. The mutations are lies that the verification must notice: one takes writes in flight for answered, the
 * other flips bytes in the server's files. With one of them the program succeeds when it finds damage.
 */
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { BlockModel, blockBytes } from './block-model.ts';
import { addCounts, KillLoad, verifyVolume, type LoadCounts, type Profile } from './kill-load.ts';
import { Random } from './random.ts';
import { Blockport } from './servers/blockport.ts';
import type { TargetServer } from './servers/target-server.ts';
import { Tgtd } from './servers/tgtd.ts';

const { values } = parseArgs({
	options: {
		rounds: { type: 'string', default: process.env.KILL_ROUNDS ?? '50' },
		seed: { type: 'string', default: process.env.KILL_SEED ?? String(Date.now() % 1_000_000_007) },
		'size-mib': { type: 'string', default: '512' },
		depth: { type: 'string', default: '64' },
		server: { type: 'string', default: 'blockport' },
		mutation: { type: 'string', default: 'none' },
		keep: { type: 'boolean', default: false },
	},
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
const depth = Number(values.depth);
const pause = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

async function connected(server: TargetServer): Promise<InitiatorDisk> {
	const unit = server.units[0]!;
	const session = await Session.open({ port: server.port, targetName: unit.target, commandsMax: depth + 16 });
	const disk = new InitiatorDisk(session, unit.lun);
	await disk.becomeReady();
	return disk;
}

/** Flips a byte of some pages that are not all zeros, in every file of the folder that is large enough to hold data. */
async function flipBytes(folder: string, random: Random): Promise<void> {
	for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
		if (!entry.isFile()) continue;
		const file = await open(join(entry.parentPath, entry.name), 'r+');
		const { size } = await file.stat();
		const page = Buffer.alloc(4096);
		const tries = size >= 1024 * 1024 ? 200 : 0;
		for (let index = 0; index < tries; index++) {
			const at = random.between(0, size / 4096 - 1) * 4096;
			const place = random.between(0, 4095);
			await file.read(page, 0, 4096, at);
			if (page.every((byte) => byte === 0)) continue;
			await file.write(Uint8Array.of(page[place]! ^ 0x10), 0, 1, at + place);
		}
		await file.close();
	}
}

async function killedWhileStarting(blockport: Blockport, random: Random): Promise<void> {
	await blockport.spawn();
	await Promise.race([pause(random.between(30, 900)), blockport.process.exited]);
	await blockport.kill();
}

interface RoundReport {
	how: string;
	counts: LoadCounts;
	readyMs: number;
}

/** Load, the end of the server, its restart, verification. Throws with words when something acknowledged is gone. */
async function round(server: TargetServer, model: BlockModel, random: Random): Promise<RoundReport> {
	const unit = server.units[0]!;
	const profile: Profile = (['small', 'mixed', 'mixed', 'large'] as const)[random.between(0, 3)]!;
	const isClean = values.mutation === 'none' && random.chance(0.12);
	const disk = await connected(server);
	const load = new KillLoad(disk.session, unit.lun, model, random, profile, depth);
	load.fill();
	const runMs = random.logarithmic(20, 2500);
	await pause(runMs);
	if (isClean) {
		// A server that is asked to stop asks its sessions to log out (RFC 7143 §11.9.1, event 1). Every other client does not listen.
		const isObedient = random.chance(0.5);
		disk.session.onAsyncMessage = () => {
			if (isObedient) void load.idle().then(async () => await disk.session.logout().catch(() => undefined));
		};
		await Promise.all([server.stop(), load.idle()]);
	} else {
		if (values.mutation === 'early-ack') load.answerEverything();
		await server.kill();
		await load.idle();
	}
	disk.session.destroy();
	if (load.failure !== undefined) throw new Error(load.failure);
	if (values.mutation === 'flip') await flipBytes(server.folder, random);
	const restarts = server instanceof Blockport && random.chance(0.3) ? random.between(1, 3) : 0;
	if (server instanceof Blockport) for (let restart = 0; restart < restarts; restart++) await killedWhileStarting(server, random);
	const startMs = performance.now();
	await server.start();
	const readyMs = performance.now() - startMs;
	const reader = await connected(server);
	const failure = await verifyVolume(reader.session, unit.lun, model);
	if (failure !== undefined) throw new Error(failure);
	model.endRound();
	reader.session.destroy();
	return {
		how: `${profile}, ${isClean ? 'SIGTERM' : 'kill -9'} after ${runMs} ms${restarts > 0 ? `, ${restarts}× killed while starting` : ''}`,
		counts: load.counts,
		readyMs,
	};
}

const folder = await mkdtemp(join(tmpdir(), 'blockport-kill-'));
const settings = {
	folder,
	units: [{ target: 'iqn.2026-11.dev.blockport.test:kill', lun: 0, sizeBytes: Number(values['size-mib']) * 1024 * 1024 }],
	initiators: [],
};
const server: TargetServer = values.server === 'tgtd' ? new Tgtd(settings) : new Blockport(settings);
const model = new BlockModel(settings.units[0]!.sizeBytes / blockBytes);
const total: LoadCounts = { writes: 0, writtenBytes: 0, trims: 0, flushes: 0, reads: 0, lost: 0 };
let failure: string | undefined = undefined;
let roundNumber = 0;
try {
	await server.start();
	for (roundNumber = 1; roundNumber <= rounds; roundNumber++) {
		// A generator of its own for each round, so that one round's sequence does not hang on the timing of those before.
		const report = await round(server, model, new Random(seed + roundNumber * 7919));
		addCounts(total, report.counts);
		const { writes, writtenBytes, lost } = report.counts;
		console.log(
			`round ${roundNumber}/${rounds}: ${report.how}: ${writes} writes, ${Math.round(writtenBytes / 1e6)} MB, ${lost} in flight; served again after ${Math.round(report.readyMs)} ms`,
		);
	}
	await server.stop();
} catch (error) {
	failure = error instanceof Error ? error.message : String(error);
}
if (failure !== undefined) console.log(`seed ${seed}, round ${roundNumber}: ${failure}`);
if (failure !== undefined && values.mutation === 'none') console.log(`the server's latest output:\n${server.process.output}`);
await server.kill().catch(() => undefined);
if (values.keep) console.log(`kept ${folder}`);
else await rm(folder, { recursive: true, force: true });
const summary = `seed ${seed}: ${total.writes} writes, ${(total.writtenBytes / 2 ** 30).toFixed(1)} GiB, ${total.trims} trims, ${total.flushes} flushes, ${total.reads} reads judged, ${total.lost} commands in flight at a kill`;
console.log(summary);
if (values.mutation !== 'none')
	console.log(failure === undefined ? `the mutation ${values.mutation} was not noticed` : `the mutation ${values.mutation} was noticed`);
process.exit((failure === undefined) === (values.mutation === 'none') ? 0 : 1);
