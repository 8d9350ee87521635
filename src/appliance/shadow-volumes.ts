import type { VolumeView } from '../admin/schemas.ts';
import type { Outcome } from '../blockvol/block-device.ts';
import type { Configuration } from '../config/configuration.ts';
import { UsageError, type UsageErrorCode } from '../config/usage-error.ts';
import type { OpenVolume } from './volume-slot.ts';
import type { VolumeEngine, Volumes } from './volumes.ts';

/** Each is an open volume, with a log and a page map. */
export const shadowsMax = 8;

/** What becomes of the volume whose name a shadow takes. */
export interface Overwrite {
	/** Its name from then on. */
	readonly keepAs: string;
}

export interface ShadowOptions {
	readonly overwrite?: Overwrite | undefined;
	/** How its files are made; by default an empty volume. */
	readonly make?: VolumeEngine['create'];
}

/** A volume that is being filled, and that nobody sees. */
export interface Shadow {
	/** What it will be called. */
	readonly name: string;
	readonly device: OpenVolume;
	/**
	 * Flushes it, and makes it a volume in one step: after a crash it is there, whole, or not at all. Rejects with UsageError and changes nothing when the name is taken, or the
	 * volume that is to be overwritten is not there or in use. Whoever gets an error discards.
	 */
	publish(options?: { readonly overwrite?: Overwrite | undefined }): Promise<VolumeView>;
	/** Takes it away with what is in it, and its space comes back; nothing to do for one that was published or discarded. */
	discard(): Promise<void>;
}

export interface ShadowParts {
	readonly volumes: Volumes;
	readonly configuration: Configuration;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
	/** Another volume has this name now; nothing maps it. */
	readonly replaced: (volume: string) => void;
}

/**
 * Volumes on their way: their directories stand in `doomed_directories` until they are published, so that a start removes what a crash left.
 *
 *     begin ──▶ filling ──publish()──▶ published: a volume like any other
 *                  └─────discard(), closeAll()──▶ discarded
 */
export class ShadowVolumes {
	readonly #parts: ShadowParts;
	/** By name; undefined while it is being made. */
	readonly #shadows = new Map<string, ShadowVolume | undefined>();
	#isClosed = false;

	constructor(parts: ShadowParts) {
		this.#parts = parts;
	}

	/** Refuses (UsageError) what publish would refuse, as far as that can be known now. One shadow for a name at a time. */
	async begin(name: string, sizeBytes: number, blockSize: 512 | 4096, { overwrite, make }: ShadowOptions = {}): Promise<Shadow> {
		const { volumes, configuration } = this.#parts;
		if (this.#isClosed) throw new UsageError('The appliance is being stopped.', 'unavailable');
		if (overwrite === undefined) configuration.checkNewVolume({ name, sizeBytes, blockSize });
		else configuration.checkReplacement(name, overwrite.keepAs, { sizeBytes, blockSize });
		if (this.#shadows.has(name))
			throw new UsageError(
				`Volume ${name} is being imported or restored already: wait for it; an import that broke off goes on with --resume.`,
				'inUse',
			);
		if (this.#shadows.size >= shadowsMax)
			throw new UsageError(`${shadowsMax} volumes are being imported or restored, which is the most at a time.`, 'inUse');
		this.#shadows.set(name, undefined);
		try {
			const device = await volumes.makeShadow({ name, sizeBytes, blockSize }, make);
			const shadow = new ShadowVolume(name, device, this.#parts, () => this.#shadows.delete(name));
			this.#shadows.set(name, shadow);
			// Stopped meanwhile: closeAll() has not seen it.
			if (this.#isClosed) await shadow.discard();
			return shadow;
		} catch (error) {
			this.#shadows.delete(name);
			throw error;
		}
	}

	/** Discards all that were not published, before the volumes are closed. */
	async closeAll(): Promise<void> {
		this.#isClosed = true;
		await Promise.all([...this.#shadows.values()].map(async (shadow) => shadow?.discard()));
	}
}

class ShadowVolume implements Shadow {
	readonly name: string;
	readonly device: OpenVolume;
	readonly #parts: ShadowParts;
	readonly #ended: () => void;
	#state: 'filling' | 'publishing' | 'published' | 'discarded' = 'filling';
	#settled: Promise<unknown> = Promise.resolve();

	constructor(name: string, device: OpenVolume, parts: ShadowParts, ended: () => void) {
		this.name = name;
		this.device = device;
		this.#parts = parts;
		this.#ended = ended;
	}

	publish({ overwrite }: { readonly overwrite?: Overwrite | undefined } = {}): Promise<VolumeView> {
		if (this.#state !== 'filling') return Promise.reject(new UsageError(`Volume ${this.name} is not being filled any more.`, 'inUse'));
		this.#state = 'publishing';
		const published = this.#publish(overwrite);
		this.#settled = published.catch(() => undefined);
		return published;
	}

	async discard(): Promise<void> {
		await this.#settled;
		if (this.#state !== 'filling') return;
		this.#state = 'discarded';
		const { volumes } = this.#parts;
		this.#settled = volumes.discardShadow(this.name, this.device).finally(() => this.#ended());
		await this.#settled;
	}

	async #publish(overwrite: Overwrite | undefined): Promise<VolumeView> {
		const { volumes, inTurn, replaced } = this.#parts;
		try {
			// Not in its turn: it may take long, and concerns nobody.
			const outcome = await flushed(this.device);
			if (outcome !== 'good') throw refusal(`Volume ${this.name} was not made`, outcome, this.device.fault);
			return await inTurn(async () => {
				volumes.publishShadow(this.name, this.device, overwrite?.keepAs);
				this.#state = 'published';
				this.#ended();
				if (overwrite !== undefined) replaced(this.name);
				return await volumes.view(this.name);
			});
		} catch (error) {
			if (this.#state === 'publishing') this.#state = 'filling';
			throw error;
		}
	}
}

function flushed(device: OpenVolume): Promise<Outcome> {
	return new Promise((resolve) => device.flush({ complete: resolve }));
}

const sentences: Partial<Record<Outcome, readonly [string, UsageErrorCode]>> = {
	noSpace: ['the file system is full; make room on it first.', 'noSpace'],
	mediumError: ['a page of it cannot be read.', 'unavailable'],
	closed: ['the appliance is being stopped, or it was given up.', 'unavailable'],
	outOfRange: ['it is behind the end of the volume.', 'invalid'],
};

/** What a device answered, as the sentence for who asked. */
export function refusal(what: string, outcome: Exclude<Outcome, 'good'>, fault?: string): UsageError {
	const [sentence, code] = sentences[outcome] ?? [fault ?? `the volume answers ${outcome}.`, 'unavailable'];
	return new UsageError(`${what}: ${sentence}`, code);
}
