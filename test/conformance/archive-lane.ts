import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ArchiveJobView, ManifestsView } from '../../src/admin/archive-schemas.ts';
import type { LunMappingView, VolumeView } from '../../src/admin/schemas.ts';
import { collect } from '../../src/archive/collector.ts';
import { deleteManifest, listManifests } from '../../src/archive/catalogue.ts';
import type { Timing } from '../../src/archive/limits.ts';
import { openRepository, type Repository } from '../../src/archive/repository.ts';
import type { StoreLocation } from '../../src/archive/store/location.ts';
import { openStore } from '../../src/archive/store/open-store.ts';
import { verify } from '../../src/archive/verify.ts';
import { ApiClient } from '../../src/cli/api-client.ts';
import { inventory, isMemory } from './archive-inventory.ts';
import { ArchiveKills, type Operation } from './archive-kills.ts';
import { type ChunkHashes, WrittenVolume, chunkBytes, readHashes } from './archive-writer.ts';
import { Random } from './random.ts';
import { Blockport } from './servers/blockport.ts';
import type { S3ServerUnderTest } from './swift.ts';

export interface LaneStore {
	readonly kind: string;
	readonly location: StoreLocation;
	readonly server: S3ServerUnderTest | undefined;
}

export interface LaneSettings {
	readonly folder: string;
	readonly store: LaneStore;
	readonly seed: number;
	readonly sizeBytes: number;
	readonly increments: number;
	readonly kills: number;
	readonly only: readonly Operation[];
	readonly claim: (text: string, fault?: string) => void;
	readonly note: (text: string) => void;
}

const targetName = 'iqn.2026-11.dev.blockport.test:archive';
const passphrase = 'correct horse battery staple';
const jobMs = 300_000;
/** Chunks that are written to between two snapshots. */
const chunksPerIncrement = 3;

/** One repository and an appliance that archives into it. */
export class ArchiveLane {
	readonly #settings: LaneSettings;
	readonly #server: Blockport;
	readonly #random: Random;
	readonly #volume: WrittenVolume;
	readonly #client: ApiClient;
	/** What is archived: the manifest's id → what it has to hold. */
	readonly #archived = new Map<string, ChunkHashes>();
	/** Contents of chunks that the repository has. */
	readonly #known = new Set<string>();
	#snapshots = 0;

	constructor(settings: LaneSettings) {
		const { folder, sizeBytes, seed } = settings;
		this.#settings = settings;
		const dataDir = join(folder, 'data');
		this.#server = new Blockport({ folder: dataDir, units: [{ target: targetName, lun: 0, sizeBytes }], initiators: [] });
		this.#client = new ApiClient({ dataDir });
		this.#random = new Random(seed);
		this.#volume = new WrittenVolume(sizeBytes, this.#random);
	}

	get output(): string {
		return this.#server.process.output;
	}

	async run(): Promise<void> {
		await this.#server.start();
		await this.#volume.connect(this.#server.port, targetName);
		await this.#addRepository();
		await this.#increments();
		await this.#restores();
		await this.#kills();
		await this.#volume.disconnect();
		await this.#server.stop();
		await this.#bootstrap();
		await this.#orphans();
	}

	async end(): Promise<void> {
		await this.#server.kill().catch(() => undefined);
	}

	async #addRepository(): Promise<void> {
		const { location } = this.#settings.store;
		const { secretAccessKey, ...place } = location.kind === 's3' ? location : { ...location, secretAccessKey: undefined };
		const secret = secretAccessKey === undefined ? {} : { secretAccessKey };
		await this.#client.post('/v1/repositories', { name: 'off', location: place, ...secret, passphrase, create: true });
	}

	async #increments(): Promise<void> {
		const { increments, sizeBytes, claim, note } = this.#settings;
		const chunks = sizeBytes / chunkBytes;
		let sent = 0;
		let wrong = 0;
		const begunMs = performance.now();
		this.#volume.resume(Array.from({ length: chunks / 2 }, (_, index) => index * 2));
		await delay(1000);
		for (let index = 0; index <= increments; index++) {
			const { name, hashes } = await this.#snapshot();
			const changed = new Set(hashes.filter((hash) => hash !== '' && !this.#known.has(hash))).size;
			// The load goes on while the snapshot is archived, elsewhere and in what is archived.
			this.#volume.resume(Array.from({ length: chunksPerIncrement }, () => this.#random.between(0, chunks - 1)));
			const job = await this.#ended(await this.#export(name));
			const { uploadedChunks, uploadedBytes, readBytes } = this.#archive(job, hashes);
			sent += uploadedChunks;
			if (uploadedChunks !== changed) wrong++;
			note(
				`${index === 0 ? 'full' : `increment ${index}`}: ${changed} chunks changed, ${uploadedChunks} sent (${uploadedBytes} bytes), ${readBytes} bytes read`,
			);
		}
		await this.#volume.pause();
		note(`${this.#volume.writes} writes meanwhile, ${Math.round((performance.now() - begunMs) / 1000)} s`);
		claim(
			`a full backup and ${increments} increments send the chunks that changed and no others: ${sent}`,
			wrong === 0 ? undefined : `${wrong} sent another number`,
		);
	}

	async #restores(): Promise<void> {
		const { claim, store } = this.#settings;
		// A server takes its time: there a few of them show what all would.
		const lazily = [...this.#archived].filter((_, index) => store.server === undefined || index % 5 === 0);
		for (const [words, isLazy, wanted] of [
			['restored', false, [...this.#archived]],
			['restored lazily', true, lazily],
		] as const) {
			const wrong: string[] = [];
			for (const [manifest, hashes] of wanted) {
				const job = await this.#ended(await this.#restore(manifest, 'restored', isLazy));
				const fault = job.state === 'done' ? await this.#differs('restored', hashes) : job.fault;
				if (fault !== undefined) wrong.push(`${manifest}: ${fault}`);
				await this.#client.delete('/v1/volumes/restored');
			}
			const which = wanted.length === this.#archived.size ? 'each of' : `${wanted.length} of`;
			claim(
				`${which} ${this.#archived.size} archived snapshots, ${words}, is what it was, bit for bit`,
				wrong.length === 0 ? undefined : wrong.join('; '),
			);
		}
	}

	async #kills(): Promise<void> {
		const { kills, only, store, claim, note } = this.#settings;
		const repository = await this.#open();
		const { settleMs } = repository.timing;
		await repository.close();
		await new ArchiveKills({
			kills,
			server: this.#server,
			s3: store.server,
			client: this.#client,
			volume: this.#volume,
			random: this.#random,
			targetName,
			archived: this.#archived,
			settleMs,
			age: () => this.#age(),
			only,
			snapshot: () => this.#snapshot(),
			export: (snapshot) => this.#export(snapshot),
			restore: (manifest, volume, lazy) => this.#restore(manifest, volume, lazy),
			archive: (job, hashes) => this.#archive(job, hashes),
			differs: (volume, hashes) => this.#differs(volume, hashes),
			ended: (job) => this.#ended(job),
			claim,
			note,
		}).run();
	}

	async #age(): Promise<void> {
		const repository = await this.#open();
		try {
			for await (const { key } of repository.store.list('exports/')) {
				const isPublished = this.#archived.has(key.split('/')[1] ?? '');
				if (isPublished || key.endsWith('/lease')) await repository.store.delete(key);
			}
		} finally {
			await repository.close();
		}
	}

	async #open(timing: Partial<Timing> = {}): Promise<Repository> {
		return await openRepository(await openStore(this.#settings.store.location), { passphrase, timing });
	}

	/** Another appliance that is given the repository and nothing else. */
	async #bootstrap(): Promise<void> {
		const { folder, sizeBytes, claim } = this.#settings;
		const dataDir = join(folder, 'other');
		const other = new Blockport({ folder: dataDir, units: [{ target: targetName, lun: 0, sizeBytes: 2 ** 20 }], initiators: [] });
		try {
			await other.start();
			const lane = new ArchiveLane({ ...this.#settings, folder: join(folder, 'nothing') });
			const client = new ApiClient({ dataDir });
			const { location } = this.#settings.store;
			const { secretAccessKey, ...place } = location.kind === 's3' ? location : { ...location, secretAccessKey: undefined };
			const secret = secretAccessKey === undefined ? {} : { secretAccessKey };
			await client.post('/v1/repositories', { name: 'brought', location: place, ...secret, passphrase });
			const { manifests } = await client.get<ManifestsView>('/v1/repositories/brought/manifests');
			const last = manifests.at(-1);
			const wanted = [...this.#archived.keys()].toSorted();
			const isAll = JSON.stringify(manifests.map(({ id }) => id).toSorted()) === JSON.stringify(wanted);
			const job = await lane.#ended(
				await client.post<ArchiveJobView>(`/v1/repositories/brought/manifests/${last?.id}/restore`, { volume: 'again' }),
				client,
			);
			const { lun } = await client.post<LunMappingView>(`/v1/targets/${targetName}/luns`, { volume: 'again' });
			const hashes = await readHashes(other.port, targetName, lun, sizeBytes);
			const isSame = JSON.stringify(hashes) === JSON.stringify(this.#archived.get(last?.id ?? ''));
			claim(
				`an appliance that is given the repository and nothing else lists ${manifests.length} archived snapshots and restores the last`,
				isAll && isSame ? undefined : `all listed: ${isAll}, restored as it was: ${isSame}, ${job.state} ${job.fault ?? ''}`,
			);
		} finally {
			await other.kill();
		}
	}

	/** Every byte is verified, what lies in the store is what manifests reach, and then nothing is left of what no manifest needs; of a repository without manifests, no chunk at all. */
	async #orphans(): Promise<void> {
		const { claim, note } = this.#settings;
		// The killed ones are as dead as they would be after a day.
		const repository = await this.#open({ graceMs: 0, leaseMs: 0, abandonMs: 0, settleMs: 0 });
		try {
			const collected = async (): Promise<void> => {
				// Until nothing is left to do; S3 tells whole seconds, and what is of this one is young.
				for (let pass = 0; pass < 3; pass++) {
					await delay(1100);
					const { state, deletedObjects } = await collect(repository, { graceMs: 0 });
					if (state === 'done' && deletedObjects === 0) break;
				}
			};
			const before = await inventory(repository);
			await collected();
			const after = await inventory(repository);
			note(`in the store before the last collection: ${before.text}`);
			note(`in the store after the last collection: ${after.text}`);
			const { orphans, missing } = after;
			claim(
				`after the last collection the store holds what ${after.manifests} manifests reach, ${after.reached} chunks and lists, and no orphan`,
				orphans.length + missing.length === 0 && after.manifests === this.#archived.size
					? undefined
					: `${after.manifests} of ${this.#archived.size} manifests, ${orphans.length} orphans, ${missing.length} missing: ${[...orphans, ...missing].slice(0, 5).join(', ')}`,
			);
			const { manifests, findingsTotal, findings } = await verify(repository, { mode: 'full' });
			claim(
				`after the last collection every byte of ${manifests} archived snapshots is there`,
				findingsTotal === 0 && manifests === this.#archived.size
					? undefined
					: `${manifests} of ${this.#archived.size}, ${JSON.stringify(findings[0])}`,
			);
			for (const { id } of await listManifests(repository)) await deleteManifest(repository, id);
			await collected();
			const { all, text } = await inventory(repository);
			const left = all.filter((key) => !isMemory(key));
			note(`in the store after the last archived snapshot was deleted and collected: ${text}`);
			claim(
				'no orphan is left after the last archived snapshot was deleted',
				left.length === 0 ? undefined : `${left.length} objects: ${left.slice(0, 5).join(', ')}`,
			);
		} finally {
			await repository.close();
		}
	}

	async #snapshot(): Promise<{ name: string; hashes: ChunkHashes }> {
		const name = `s${this.#snapshots++}`;
		await this.#volume.pause();
		const hashes = this.#volume.hashes();
		await this.#client.post('/v1/snapshots', { volumes: ['volume0'], name });
		return { name, hashes };
	}

	#export(snapshot: string): Promise<ArchiveJobView> {
		return this.#client.post<ArchiveJobView>('/v1/repositories/off/exports', { volume: 'volume0', snapshot });
	}

	#restore(manifest: string, volume: string, lazy = false): Promise<ArchiveJobView> {
		return this.#client.post<ArchiveJobView>(`/v1/repositories/off/manifests/${manifest}/restore`, { volume, lazy });
	}

	#archive(job: ArchiveJobView, hashes: ChunkHashes): { uploadedChunks: number; uploadedBytes: number; readBytes: number } {
		const { result } = job;
		if (job.state !== 'done' || result === undefined) throw new Error(`an export is ${job.state}: ${job.fault}`);
		this.#archived.set(String(result['manifest']), hashes);
		for (const hash of hashes) this.#known.add(hash);
		const number = (name: string): number => Number(result[name]);
		return { uploadedChunks: number('uploadedChunks'), uploadedBytes: number('uploadedBytes'), readBytes: number('readBytes') };
	}

	/** How a volume differs from what it should hold; undefined if it does not. */
	async #differs(volume: string, hashes: ChunkHashes): Promise<string | undefined> {
		const { state } = await this.#client.get<VolumeView>(`/v1/volumes/${volume}`);
		if (state !== 'online') return `the volume is ${state}`;
		const { lun } = await this.#client.post<LunMappingView>(`/v1/targets/${targetName}/luns`, { volume });
		const read = await readHashes(this.#server.port, targetName, lun, this.#settings.sizeBytes);
		await this.#client.delete(`/v1/targets/${targetName}/luns/${lun}`);
		const at = hashes.findIndex((hash, index) => hash !== read[index]);
		return at < 0 ? undefined : `chunk ${at} is not what it was`;
	}

	async #ended({ id }: ArchiveJobView, client = this.#client): Promise<ArchiveJobView> {
		const untilMs = performance.now() + jobMs;
		for (;;) {
			const job = await client.get<ArchiveJobView>(`/v1/archive/jobs/${id}`);
			if (job.state !== 'waiting' && job.state !== 'running') return job;
			if (performance.now() > untilMs) throw new Error(`job ${id} does not end: ${JSON.stringify(job)}`);
			await delay(25);
		}
	}
}
