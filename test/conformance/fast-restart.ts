/**
 * How long a 1 TiB thin volume with 200 MiB of fresh writes in its log is away: after kill -9 at most 2 s, after a clean stop at most 0.5 s, the start of the
 * process itself (a server without volumes, spawn to ready line) not counted. Away means: until a READ of a block written last is answered, and rightly.
 *
 *     node test/conformance/fast-restart.ts       FAST_RESTART_REPETITIONS (3)
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { write16 } from '../initiator/cdb.ts';
import { scsiStatus, type Command, type CommandOwner } from '../initiator/command.ts';
import { InitiatorDisk } from '../initiator/disk.ts';
import { InitiatorError, Session } from '../initiator/session.ts';
import { check, expect, finish } from './checks.ts';
import { Random } from './random.ts';
import { Blockport } from './servers/blockport.ts';
import { inFolder } from './servers/choose.ts';

const repetitions = Number(process.env.FAST_RESTART_REPETITIONS ?? '3');
const target = 'iqn.2026-11.dev.blockport.test:restart';
const volumeBytes = 2 ** 40;
const loadBytes = 200 * 1024 * 1024;
const pageBytes = 4096;
const blocksPerPage = 8;
const depth = 64;
/** How long a stop may take is not judged here: it carries all that is dirty, the rounds before included, into a fresh sparse file. */
const stopMsMax = 240_000;

/** Random page writes over the whole volume, as fast as they go. Resolves to the pages written last, with what they hold. */
async function writePages(server: Blockport, random: Random): Promise<Map<number, Buffer>> {
	const session = await Session.open({ port: server.port, targetName: target, commandsMax: depth });
	await new InitiatorDisk(session, 0).becomeReady();
	const latest = new Map<number, Buffer>();
	const total = loadBytes / pageBytes;
	let submitted = 0;
	let answered = 0;
	await new Promise<void>((resolve, reject) => {
		const pages = new Map<Command, number>();
		const owner: CommandOwner = {
			finished(command) {
				if (command.status !== scsiStatus.good) {
					reject(new Error(`SCSI status ${command.status}: ${String(session.ended)}`));
					return;
				}
				if (++answered > total - 1000) latest.set(pages.get(command)!, Buffer.from(command.dataOut!));
				if (submitted < total) submit(command, command.dataOut!);
				else if (answered === total) resolve();
			},
		};
		const submit = (command: Command, data: Buffer): void => {
			const page = random.between(0, volumeBytes / pageBytes - 1);
			submitted++;
			pages.set(command, page);
			data.writeUInt32LE(submitted, 0);
			data.writeDoubleLE(page, 8);
			command.owner = owner;
			command.dataOut = data;
			command.dataOutBytes = pageBytes;
			write16(command.cdb, page * blocksPerPage, blocksPerPage);
			session.submit(command);
		};
		for (let index = 0; index < depth; index++) submit(session.take()!, Buffer.alloc(pageBytes, index + 1));
	});
	session.destroy();
	return latest;
}

/** Tries until a session is there; a server that is starting may refuse. */
async function openSession(port: number): Promise<Session> {
	const lastMs = performance.now() + 30_000;
	for (;;) {
		try {
			return await Session.open({ port, targetName: target });
		} catch (error) {
			if (!(error instanceof InitiatorError) || performance.now() > lastMs) throw error;
		}
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
}

/** Spawns the server; resolves to the milliseconds until a block of each of some pages was read, rightly. */
async function backAfterMs(server: Blockport, pages: ReadonlyMap<number, Buffer>): Promise<number> {
	const startMs = performance.now();
	await server.spawn();
	const disk = new InitiatorDisk(await openSession(server.port), 0);
	await disk.becomeReady();
	const [first] = pages;
	expect(
		first !== undefined && (await disk.read(first[0] * blocksPerPage, blocksPerPage, 512)).equals(first[1]),
		`page ${first?.[0]} is not what was written`,
	);
	const backMs = performance.now() - startMs;
	for (const [page, data] of pages) {
		expect((await disk.read(page * blocksPerPage, blocksPerPage, 512)).equals(data), `page ${page} is not what was written`);
	}
	disk.session.destroy();
	server.readyLine = await server.process.line(/^blockport ready/);
	return backMs;
}

function median(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const shown = (values: readonly number[]): string => values.map((value) => Math.round(value)).join(', ');

await inFolder('restart', async (folder, started) => {
	const empty = new Blockport({ folder: join(folder, 'empty'), units: [], initiators: [] });
	const server = new Blockport({ folder: join(folder, 'data'), units: [{ target, lun: 0, sizeBytes: volumeBytes }], initiators: [] });
	await mkdir(empty.folder);
	await mkdir(server.folder);
	started.push(empty, server);
	const bare: number[] = [];
	for (let index = 0; index < repetitions; index++) {
		await empty.start();
		bare.push(empty.readyMs);
		await empty.stop();
	}
	const bareMs = median(bare);
	console.log(`a server without volumes: spawn to ready in ${shown(bare)} ms, median ${Math.round(bareMs)}`);
	await server.start();
	const random = new Random(20_261_121);

	const measure = async (end: 'kill -9' | 'SIGTERM', maxMs: number): Promise<string> => {
		const away: number[] = [];
		const writing: number[] = [];
		const stopping: number[] = [];
		for (let index = 0; index < repetitions; index++) {
			const startMs = performance.now();
			const pages = await writePages(server, random);
			const writtenMs = performance.now();
			if (end === 'kill -9') await server.kill();
			else expect((await server.stop(stopMsMax)) === 'exit code 0', 'the stop was not clean');
			writing.push(writtenMs - startMs);
			stopping.push(performance.now() - writtenMs);
			away.push((await backAfterMs(server, pages)) - bareMs);
		}
		const report = `away ${shown(away)} ms beyond the process's start; 200 MiB were written in ${shown(writing)} ms, ending took ${shown(stopping)} ms; it says: ${server.readyLine}`;
		expect(Math.max(...away) <= maxMs, report);
		return report;
	};
	await check('1 TiB thin volume, 200 MiB in the log, kill -9: served again within 2 s', async () => await measure('kill -9', 2000));
	await check('1 TiB thin volume, 200 MiB written, clean stop: served again within 0.5 s', async () => await measure('SIGTERM', 500));
});
finish();
