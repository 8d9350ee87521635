/**
 * What a volume may hold, block by block, after any mixture of overlapping commands, answered or not.
 *
 * Each write stamps its blocks with (LBA, version); a trim makes them zero. Time is a counter that each submission and each answer advances.
 * A write W is superseded in a block when another one that covers the block was submitted after W's answer and was itself answered. A block
 * may hold any write of this round that is not superseded there; it may hold what it held before the round only while no answered write covers it.
 *
 * Invariants: superseded[b] is the greatest submission time of an answered command over block b, 0 if none; zeroAnswered[b] is the
 * greatest time of answer of a trim over it.
 */
export const blockBytes = 512;
const wordsPerBlock = blockBytes / 4;
const magic = 0x42504b54;

export interface ModelWrite {
	readonly version: number;
	readonly kind: 'write' | 'zero';
	readonly lba: number;
	readonly blocks: number;
	/** 0 while unanswered. */
	answered: number;
}

export interface Mismatch {
	lba: number;
	words: string;
}

export class BlockModel {
	readonly blocks: number;
	readonly #settled: Uint32Array;
	readonly #superseded: Uint32Array;
	readonly #zeroAnswered: Uint32Array;
	readonly #round = new Map<number, ModelWrite>();
	readonly #zerosInFlight = new Set<ModelWrite>();
	#clock = 0;

	constructor(blocks: number) {
		this.blocks = blocks;
		this.#settled = new Uint32Array(blocks);
		this.#superseded = new Uint32Array(blocks);
		this.#zeroAnswered = new Uint32Array(blocks);
	}

	/** Tells of a command that is about to be sent. Its version is the time of its submission. */
	submit(kind: 'write' | 'zero', lba: number, blocks: number): ModelWrite {
		const write: ModelWrite = { version: ++this.#clock, kind, lba, blocks, answered: 0 };
		this.#round.set(write.version, write);
		if (kind === 'zero') this.#zerosInFlight.add(write);
		return write;
	}

	answer(write: ModelWrite): void {
		write.answered = ++this.#clock;
		const end = write.lba + write.blocks;
		const superseded = this.#superseded;
		for (let block = write.lba; block < end; block++) if (superseded[block]! < write.version) superseded[block] = write.version;
		if (write.kind === 'zero') {
			this.#zeroAnswered.fill(write.answered, write.lba, end);
			this.#zerosInFlight.delete(write);
		}
	}

	/** What a read that is submitted now must not be older than; for check(). */
	snapshot(lba: number, blocks: number): Uint32Array {
		return this.#superseded.slice(lba, lba + blocks);
	}

	/** Fills the write's data, `words` being its view as 32-bit words. */
	stamp(write: ModelWrite, words: Uint32Array): void {
		for (let block = 0; block < write.blocks; block++) stampBlock(words, block * wordsPerBlock, write.lba + block, write.version);
	}

	/**
	 * Judges what was read from `lba` on. `floor`: the snapshot of when the read was submitted; without it the state of now holds.
	 */
	check(lba: number, words: Uint32Array, floor?: Uint32Array): Mismatch | undefined {
		const blocks = words.length / wordsPerBlock;
		for (let index = 0; index < blocks; index++) {
			const block = lba + index;
			const at = index * wordsPerBlock;
			const least = floor === undefined ? this.#superseded[block]! : floor[index]!;
			const version = words[at + 2]!;
			const isRight =
				version === 0
					? isZero(words, at) && this.#mayBeZero(block, least)
					: hasStamp(words, at, block, version) && this.#mayHold(block, version, least);
			if (!isRight) return { lba: block, words: this.#describe(block, words, at, least) };
		}
		return undefined;
	}

	/** Takes what check() found right for what the blocks hold from now on. Over the whole volume, then endRound(). */
	settle(lba: number, words: Uint32Array): void {
		const blocks = words.length / wordsPerBlock;
		for (let index = 0; index < blocks; index++) this.#settled[lba + index] = words[index * wordsPerBlock + 2]!;
	}

	/** The server is gone, all blocks were settled: nothing of this round may appear or change any more. */
	endRound(): void {
		this.#superseded.fill(0);
		this.#zeroAnswered.fill(0);
		this.#round.clear();
		this.#zerosInFlight.clear();
	}

	#mayHold(block: number, version: number, least: number): boolean {
		if (version === this.#settled[block]!) return least === 0;
		const write = this.#round.get(version);
		if (write === undefined || write.kind === 'zero' || block < write.lba || block >= write.lba + write.blocks) return false;
		return write.answered === 0 || write.answered > least;
	}

	#mayBeZero(block: number, least: number): boolean {
		if (this.#settled[block] === 0 && least === 0) return true;
		if (this.#zeroAnswered[block]! > least) return true;
		for (const zero of this.#zerosInFlight) if (block >= zero.lba && block < zero.lba + zero.blocks) return true;
		return false;
	}

	#describe(block: number, words: Uint32Array, at: number, least: number): string {
		const found = isZero(words, at)
			? 'zeros'
			: words[at] === magic
				? `the stamp of LBA ${words[at + 1]}, version ${words[at + 2]}${hasStamp(words, at, words[at + 1]!, words[at + 2]!) ? '' : ', torn or damaged'}`
				: `unknown bytes ${Buffer.from(words.buffer, words.byteOffset + at * 4, 16).toString('hex')}…`;
		const history = [...this.#round.values()]
			.filter((write) => block >= write.lba && block < write.lba + write.blocks)
			.slice(-8)
			.map(
				(write) =>
					`${write.kind} ${write.version} of ${write.lba}+${write.blocks} ${write.answered > 0 ? `answered at ${write.answered}` : 'not answered'}`,
			);
		return `found ${found}; before the round version ${this.#settled[block]}; the latest answered submission at ${least}; writes: ${history.join('; ') || 'none'}`;
	}
}

function mixed(lba: number, version: number): number {
	return (Math.imul(version, 0x9e3779b1) + Math.imul(lba, 0x85ebca6b)) >>> 0;
}

function stampBlock(words: Uint32Array, at: number, lba: number, version: number): void {
	words[at] = magic;
	words[at + 1] = lba;
	words[at + 2] = version;
	let value = mixed(lba, version);
	for (let word = at + 3; word < at + wordsPerBlock; word++) {
		words[word] = value;
		value = (value + 0xc2b2ae35) | 0;
	}
}

function hasStamp(words: Uint32Array, at: number, lba: number, version: number): boolean {
	if (words[at] !== magic || words[at + 1] !== lba || words[at + 2] !== version) return false;
	let value = mixed(lba, version) | 0;
	for (let word = at + 3; word < at + wordsPerBlock; word++) {
		if ((words[word]! | 0) !== value) return false;
		value = (value + 0xc2b2ae35) | 0;
	}
	return true;
}

function isZero(words: Uint32Array, at: number): boolean {
	for (let word = at; word < at + wordsPerBlock; word++) if (words[word] !== 0) return false;
	return true;
}
