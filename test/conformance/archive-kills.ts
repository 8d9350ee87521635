import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ArchiveJobView, ManifestsView } from '../../src/admin/archive-schemas.ts';
import type { LunMappingView, VolumeView } from '../../src/admin/schemas.ts';
import { type ApiClient, ApiError } from '../../src/cli/api-client.ts';
import { Upload } from '../../src/cli/stream-upload.ts';
import { type ChunkHashes, type WrittenVolume, chunkBytes, hashesOf, noiseWithHoles, wrongChunks } from './archive-writer.ts';
import type { Random } from './random.ts';
import type { Blockport } from './servers/blockport.ts';
import type { S3ServerUnderTest, ServerPart } from './swift.ts';

export type Operation = 'export' | 'restore' | 'lazy' | 'import' | 'gc';
export type Victim = 'appliance' | 'server';

/** The lane, as far as kills need it. */
export interface KillParts {
	readonly kills: number;
	readonly server: Blockport;
	readonly s3: S3ServerUnderTest | undefined;
	readonly client: ApiClient;
	readonly volume: WrittenVolume;
	readonly random: Random;
	readonly targetName: string;
	/** What is archived: the manifest's id → what it has to hold. */
	readonly archived: Map<string, ChunkHashes>;
	/** How long a collection waits before it looks again: S3 servers without conditional puts may have late lists. */
	readonly settleMs: number;
	/** Only these kinds of work. */
	readonly only: readonly Operation[];
	/** What time does: leases of exports that were killed run out in 15 minutes, before which nothing young is collected, and pending manifests of published ones go with a collection. */
	readonly age: () => Promise<void>;
	readonly snapshot: () => Promise<{ name: string; hashes: ChunkHashes }>;
	readonly export: (snapshot: string) => Promise<ArchiveJobView>;
	readonly restore: (manifest: string, volume: string, lazy: boolean) => Promise<ArchiveJobView>;
	/** Writes down what an export has archived. */
	readonly archive: (job: ArchiveJobView, hashes: ChunkHashes) => unknown;
	/** How a volume differs from what it should hold. */
	readonly differs: (volume: string, hashes: ChunkHashes) => Promise<string | undefined>;
	readonly ended: (job: ArchiveJobView) => Promise<ArchiveJobView>;
	readonly claim: (text: string, fault?: string) => void;
	readonly note: (text: string) => void;
}

/** Collections are fewer, since they wait; an import that streams in has nothing to do with the S3 server. */
const both: readonly (readonly [Victim, Operation])[] = [
	...(['export', 'export', 'restore', 'restore', 'lazy', 'lazy', 'import', 'gc'] as const).map((kind) => ['appliance', kind] as const),
	...(['export', 'export', 'restore', 'restore', 'lazy', 'lazy', 'lazy', 'gc'] as const).map((kind) => ['server', kind] as const),
];
const applianceOnly: readonly (readonly [Victim, Operation])[] = (['export', 'restore', 'lazy', 'import', 'gc'] as const).map(
	(kind) => ['appliance', kind] as const,
);
export const words: Record<Operation, string> = {
	export: 'exports',
	restore: 'restores',
	lazy: 'lazy fills',
	import: 'stream imports',
	gc: 'collections',
};
const chunksPerExport = 6;
const firstLengthMs = 500;
/** How long the server is away at most, beside its start. */
const awayMs = 1500;
const filledMs = 300_000;

/** Something that takes its time and is to be killed in the middle. */
interface Work {
	/** Whether it is over now, of itself. */
	isOver(): Promise<boolean>;
	/** Whether it was over when the appliance died, seen after the next start. */
	wasOver(): Promise<boolean>;
	/** What can be seen of it now and is wrong. */
	early(): Promise<string | undefined>;
	/** Waits for its end, begins it again if nobody else does; what is wrong then. */
	outcome(): Promise<string | undefined>;
	/** For the log. */
	text(): string;
}

interface Count {
	kills: number;
	inTheMiddle: number;
	seconds: number;
}

/**
 * kill -9 of the appliance, and of all or a part of the S3 server, at random moments of exports, restores, lazy fills, streams that come in, and collections. Moments are drawn evenly from as long as the work of a kind has
 * been seen to take; whether one was in the middle is judged afterwards: the victim was dead, and the work was not done.
 */
export class ArchiveKills {
	readonly #parts: KillParts;
	readonly #counts = new Map<string, Count>();
	/** How long a work takes that nobody disturbs, ms, by victim and operation: learned. */
	readonly #lengthMs = new Map<string, number>();
	#collectedObjects = 0;
	readonly #image: Buffer;
	readonly #imageHashes: ChunkHashes;

	constructor(parts: KillParts) {
		this.#parts = parts;
		this.#image = noiseWithHoles(parts.volume.sizeBytes);
		this.#imageHashes = hashesOf(this.#image);
	}

	async run(): Promise<void> {
		const { kills, only, claim, note, s3 } = this.#parts;
		const possible = (s3 === undefined ? applianceOnly : both).filter(([, operation]) => only.includes(operation));
		const faults: string[] = [];
		let plan: (readonly [Victim, Operation])[] = [];
		for (let number = 1; number <= kills; number++) {
			if (plan.length === 0) plan = this.#shuffled(possible);
			const [victim, operation] = plan.pop()!;
			const begunMs = performance.now();
			const { isInTheMiddle, text, fault } = await this.#kill(victim, operation);
			const seconds = (performance.now() - begunMs) / 1000;
			const count = this.#count(victim, operation);
			count.kills++;
			count.seconds += seconds;
			if (isInTheMiddle) count.inTheMiddle++;
			const key = `${victim} ${operation}`;
			const lengthMs = (this.#lengthMs.get(key) ?? firstLengthMs) * (isInTheMiddle ? 1.1 : 0.6);
			this.#lengthMs.set(key, Math.min(20_000, Math.max(20, lengthMs)));
			note(`kill ${number}, ${text}, ${isInTheMiddle ? 'in the middle' : 'when it was over'}; ${seconds.toFixed(1)} s`);
			if (fault !== undefined) {
				faults.push(`kill ${number}: ${fault}`);
				note(`kill ${number} shows a fault: ${fault}`);
			}
		}
		const left = await this.#leftBehind();
		if (left !== undefined) faults.push(left);
		const sum = { kills: 0, inTheMiddle: 0 };
		for (const victim of ['appliance', 'server'] as const) {
			const mine = { kills: 0, inTheMiddle: 0 };
			const kinds = (Object.keys(words) as Operation[]).flatMap((operation) => {
				const { kills: all, inTheMiddle, seconds } = this.#count(victim, operation);
				mine.kills += all;
				mine.inTheMiddle += inTheMiddle;
				return all === 0 ? [] : [`${all} ${words[operation]} (${inTheMiddle} in the middle, ${(seconds / all).toFixed(1)} s each)`];
			});
			sum.kills += mine.kills;
			sum.inTheMiddle += mine.inTheMiddle;
			if (mine.kills > 0) note(`kill -9 of the ${victim}: ${mine.kills}, ${mine.inTheMiddle} in the middle: ${kinds.join(', ')}`);
		}
		note(`collections that were killed, or went on after that, deleted ${this.#collectedObjects} objects beside what the killed had`);
		claim(
			`${sum.kills} times kill -9, ${sum.inTheMiddle} in the middle of the work: nothing wrong is visible, all goes on and is done in the end, and no volume is left behind`,
			faults.length === 0 ? undefined : `${faults.length} faults; ${faults.join('; ')}`,
		);
		// A few say nothing about the moments.
		if (sum.kills >= 40)
			claim('most kills are in the middle of the work', sum.inTheMiddle * 2 > sum.kills ? undefined : `${sum.inTheMiddle} of ${sum.kills}`);
	}

	async #kill(victim: Victim, operation: Operation): Promise<{ isInTheMiddle: boolean; text: string; fault: string | undefined }> {
		const { server, s3, volume, random, targetName } = this.#parts;
		const afterMs = this.#moment(victim, operation);
		const parts: readonly ServerPart[] = ['all', 'front', 'storage'];
		const part = parts[random.between(0, 2)] ?? 'all';
		const downMs = random.between(0, awayMs);
		const work = await this.#begin(operation);
		await delay(afterMs);
		let isInTheMiddle: boolean;
		let fault: string | undefined;
		if (victim === 'appliance') {
			await server.kill();
			await volume.disconnect();
			await server.start();
			await volume.connect(server.port, targetName);
			isInTheMiddle = !(await work.wasOver());
			fault = await work.early();
		} else {
			await s3?.kill(part);
			isInTheMiddle = !(await work.isOver());
			const early = work.early();
			await delay(downMs);
			await s3?.restart();
			fault = await early;
		}
		fault = (await this.#catalogueFault(operation === 'export' ? 1 : 0)) ?? fault;
		fault = (await work.outcome()) ?? fault ?? (await this.#catalogueFault(0));
		const who = victim === 'appliance' ? 'the appliance' : `the S3 server (${part})`;
		return { isInTheMiddle, text: `${who} during ${operation} after ${Math.round(afterMs)} ms: ${work.text()}`, fault };
	}

	/** Evenly over the work; a collection that waits in its middle is met before and after that, too. */
	#moment(victim: Victim, operation: Operation): number {
		const { random, settleMs } = this.#parts;
		const atMs = random.unit() * (this.#lengthMs.get(`${victim} ${operation}`) ?? firstLengthMs);
		if (operation !== 'gc' || settleMs === 0) return atMs;
		const where = random.unit();
		if (where < 0.5) return random.unit() * 1500;
		return where < 0.6 ? random.unit() * settleMs : settleMs + 500 + random.unit() * 2500;
	}

	async #begin(operation: Operation): Promise<Work> {
		const { random, volume, snapshot, archived, client, restore } = this.#parts;
		const ids = [...archived.keys()];
		const manifest = ids[random.between(0, ids.length - 1)] ?? '';
		if (operation === 'export') {
			volume.resume(Array.from({ length: chunksPerExport }, () => random.between(0, volume.sizeBytes / chunkBytes - 1)));
			await delay(200);
			const { name, hashes } = await snapshot();
			return this.#job(operation, await this.#parts.export(name), hashes);
		}
		if (operation === 'import') return this.#import();
		if (operation === 'gc') {
			await this.#parts.age();
			await client.delete(`/v1/repositories/off/manifests/${manifest}`);
			archived.delete(manifest);
			return this.#job(operation, await client.post<ArchiveJobView>('/v1/repositories/off/gc', { graceSeconds: 0 }), []);
		}
		return this.#job(operation, await restore(manifest, 'restored', operation === 'lazy'), archived.get(manifest) ?? []);
	}

	#job(operation: Operation, begun: ArchiveJobView, hashes: ChunkHashes): Work {
		const { client, ended, archive, differs } = this.#parts;
		const isRestore = operation === 'restore' || operation === 'lazy';
		let last = begun;
		const isOver = async (): Promise<boolean> => {
			last = await client.get<ArchiveJobView>(`/v1/archive/jobs/${begun.id}`);
			if (last.state === 'waiting' || last.state === 'running') return false;
			return operation !== 'lazy' || (await this.#volume('restored'))?.restoring === undefined;
		};
		return {
			isOver,
			// One that was cut short was begun a second time.
			wasOver: async () => (await isOver()) && last.attempts === 1,
			early: async () => {
				const seen = isRestore ? await this.#volume('restored') : undefined;
				if (seen === undefined) return undefined;
				// What is still to be fetched may take long while the server is away, and fail, but not be wrong.
				return await this.#readsWrong('restored', hashes);
			},
			outcome: async () => {
				last = await ended(begun);
				if (last.state !== 'done') return `the ${operation} is ${last.state}: ${last.fault}`;
				if (operation === 'export') archive(last, hashes);
				if (operation === 'gc') {
					this.#collectedObjects += Number(last.result?.['deletedObjects'] ?? 0);
					return await this.#verifyFault();
				}
				if (!isRestore) return undefined;
				const fault = (await differs('restored', hashes)) ?? (operation === 'lazy' ? await this.#filledFault(hashes) : undefined);
				await client.delete('/v1/volumes/restored');
				return fault;
			},
			text: () =>
				`${last.state} at attempt ${last.attempts}${operation === 'gc' ? `, ${String(last.result?.['deletedObjects'])} objects deleted by it` : ''}`,
		};
	}

	/** A stream that comes in: the appliance remembers nothing of one that its death cut short. */
	async #import(): Promise<Work> {
		const { client, differs } = this.#parts;
		let state: 'sending' | 'done' | 'broken off' = 'sending';
		const send = async (): Promise<void> => {
			const upload = new Upload(
				client,
				await Upload.begin(client, { name: 'imported', sizeBytes: this.#image.length, blockSize: 512, source: '' }),
			);
			for (let at = 0; at < this.#image.length; at += chunkBytes) {
				const data = this.#image.subarray(at, at + chunkBytes);
				await upload.add({ lengthBytes: data.length, data });
			}
			await upload.finish();
		};
		const first = send().then(
			() => void (state = 'done'),
			(error: unknown) => {
				if (!(error instanceof ApiError)) throw error;
				state = 'broken off';
			},
		);
		let isVisible = false;
		return {
			isOver: () => Promise.resolve(state === 'done'),
			wasOver: async () => {
				isVisible = (await this.#volume('imported')) !== undefined;
				return isVisible;
			},
			early: async () => (isVisible ? await differs('imported', this.#imageHashes) : undefined),
			outcome: async () => {
				await first;
				if (state === 'broken off' && (await this.#volume('imported')) !== undefined && !isVisible)
					return 'an import that was broken off is visible';
				if (state === 'broken off' && !isVisible) await send();
				const fault = await differs('imported', this.#imageHashes);
				await client.delete('/v1/volumes/imported');
				return fault;
			},
			text: () => state,
		};
	}

	async #volume(name: string): Promise<VolumeView | undefined> {
		try {
			return await this.#parts.client.get<VolumeView>(`/v1/volumes/${name}`);
		} catch (error) {
			if (error instanceof ApiError && error.status === 404) return undefined;
			throw error;
		}
	}

	/** Reads some of a volume that can be seen before its restore has ended. */
	async #readsWrong(volume: string, hashes: ChunkHashes): Promise<string | undefined> {
		const { client, server, targetName, random } = this.#parts;
		const chunks = Array.from({ length: 4 }, () => random.between(0, hashes.length - 1));
		let lun: number;
		try {
			({ lun } = await client.post<LunMappingView>(`/v1/targets/${targetName}/luns`, { volume }));
		} catch (error) {
			// It has gone, or goes into place right now.
			if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return undefined;
			throw error;
		}
		const wrong = await wrongChunks(server.port, targetName, lun, hashes, chunks);
		await client.delete(`/v1/targets/${targetName}/luns/${lun}`);
		return wrong.length === 0 ? undefined : `chunks ${wrong.join(', ')} of ${volume} read wrong while it is restored`;
	}

	/** Waits until all of a volume that is restored lazily is here, and looks at it again. */
	async #filledFault(hashes: ChunkHashes): Promise<string | undefined> {
		const untilMs = performance.now() + filledMs;
		for (;;) {
			const restoring = (await this.#volume('restored'))?.restoring;
			if (restoring === undefined) return await this.#parts.differs('restored', hashes);
			if (performance.now() > untilMs) return `the volume is not filled: ${JSON.stringify(restoring)}`;
			await delay(50);
		}
	}

	/** After a collection every manifest has all that it needs. */
	async #verifyFault(): Promise<string | undefined> {
		const { client, ended } = this.#parts;
		const job = await ended(await client.post<ArchiveJobView>('/v1/repositories/off/verify', { full: false, repair: false }));
		return job.state === 'done' ? undefined : `after a collection: ${job.fault}`;
	}

	/** The catalogue shows what was archived, and at most what is being archived now. */
	async #catalogueFault(onTheirWay: number): Promise<string | undefined> {
		const { client, archived } = this.#parts;
		const { manifests, damaged } = await whileAway(() => client.get<ManifestsView>('/v1/repositories/off/manifests'));
		if (damaged.length > 0) return damaged.join(' ');
		const seen = new Set(manifests.map(({ id }) => id));
		const gone = [...archived.keys()].filter((id) => !seen.has(id));
		if (gone.length > 0) return `${gone.join(', ')} cannot be seen`;
		const more = seen.size - archived.size;
		return more > onTheirWay ? `${more} manifests more than were made` : undefined;
	}

	/** Directories of volumes that nobody knows, when what was deleted has had its time to go. */
	async #leftBehind(): Promise<string | undefined> {
		const { client, server } = this.#parts;
		const { volumes } = await client.get<{ volumes: VolumeView[] }>('/v1/volumes');
		let directories: string[] = [];
		for (let tries = 0; tries < 100; tries++) {
			directories = await readdir(join(server.folder, 'volumes'));
			if (directories.length === volumes.length) return undefined;
			await delay(100);
		}
		return `${directories.length} directories of ${volumes.length} volumes`;
	}

	#count(victim: Victim, operation: Operation): Count {
		const key = `${victim} ${operation}`;
		const count = this.#counts.get(key) ?? { kills: 0, inTheMiddle: 0, seconds: 0 };
		this.#counts.set(key, count);
		return count;
	}

	#shuffled<T>(all: readonly T[]): T[] {
		const left = [...all];
		const shuffled: T[] = [];
		while (left.length > 0) shuffled.push(...left.splice(this.#parts.random.between(0, left.length - 1), 1));
		return shuffled;
	}
}

/** While the store is away, its catalogue cannot be read: that is no fault. */
async function whileAway<T>(ask: () => Promise<T>): Promise<T> {
	for (let tries = 0; ; tries++) {
		try {
			return await ask();
		} catch (error) {
			if (tries === 20) throw error;
			await delay(500);
		}
	}
}
