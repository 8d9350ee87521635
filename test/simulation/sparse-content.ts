/** Unit of allocation. */
export const chunkBytes = 4096;
/** What a disk writes whole. */
export const sectorBytes = 512;

const zeroChunk = new Uint8Array(chunkBytes);

/**
 * The bytes of a sparse file of any size.
 *
 * Invariants: a chunk is never changed once it is in the map (a write puts a new one), so copies share chunks; bytes of a chunk behind sizeBytes are zero.
 */
export class SparseContent {
	#chunks = new Map<number, Uint8Array>();
	/** Somebody else reads the same map: it is copied before the next change. */
	#shared = false;
	#sortedIndexes: number[] | undefined;
	#sizeBytes = 0;

	get sizeBytes(): number {
		return this.#sizeBytes;
	}

	get allocatedBytes(): number {
		return this.#chunks.size * chunkBytes;
	}

	copy(): SparseContent {
		const copy = new SparseContent();
		copy.#chunks = this.#chunks;
		copy.#sizeBytes = this.#sizeBytes;
		copy.#sortedIndexes = this.#sortedIndexes;
		copy.#shared = true;
		this.#shared = true;
		return copy;
	}

	/** Returns the bytes read: fewer than asked at the end of the file. */
	read(target: Uint8Array, positionBytes: number): number {
		const length = Math.max(0, Math.min(target.length, this.#sizeBytes - positionBytes));
		for (let done = 0; done < length;) {
			const position = positionBytes + done;
			const start = position % chunkBytes;
			const bytes = Math.min(chunkBytes - start, length - done);
			const chunk = this.#chunks.get((position - start) / chunkBytes);
			if (chunk === undefined) target.fill(0, done, done + bytes);
			else if (bytes === chunkBytes) target.set(chunk, done);
			else target.set(chunk.subarray(start, start + bytes), done);
			done += bytes;
		}
		return length;
	}

	/** `data` must not change afterwards. Extends the file. */
	write(data: Uint8Array, positionBytes: number): void {
		if (data.length === 0) return;
		this.#own();
		for (let done = 0; done < data.length;) {
			const position = positionBytes + done;
			const start = position % chunkBytes;
			const bytes = Math.min(chunkBytes - start, data.length - done);
			const index = (position - start) / chunkBytes;
			const part = data.subarray(done, done + bytes);
			if (bytes === chunkBytes) this.#put(index, isZero(part) ? zeroChunk : part);
			else this.#patch(index, start, part);
			done += bytes;
		}
		this.#sizeBytes = Math.max(this.#sizeBytes, positionBytes + data.length);
	}

	/** Gives space back; the size stays. */
	punch(positionBytes: number, lengthBytes: number): void {
		this.#own();
		const end = Math.min(positionBytes + lengthBytes, this.#sizeBytes);
		const firstWhole = Math.ceil(positionBytes / chunkBytes);
		const endWhole = end === this.#sizeBytes ? Math.ceil(end / chunkBytes) : Math.floor(end / chunkBytes);
		for (const index of this.#within(firstWhole, endWhole)) this.#drop(index);
		this.#zeroWithinChunk(positionBytes, Math.min(end, firstWhole * chunkBytes));
		this.#zeroWithinChunk(Math.max(positionBytes, endWhole * chunkBytes), end);
	}

	truncate(sizeBytes: number): void {
		if (sizeBytes < this.#sizeBytes) {
			this.#own();
			this.punch(sizeBytes, this.#sizeBytes - sizeBytes);
		}
		this.#sizeBytes = sizeBytes;
	}

	nextData(positionBytes: number): { startBytes: number; endBytes: number } | undefined {
		if (positionBytes >= this.#sizeBytes) return undefined;
		const indexes = this.#sorted();
		let at = lowerBound(indexes, Math.floor(positionBytes / chunkBytes));
		const first = indexes[at];
		if (first === undefined) return undefined;
		let end = first + 1;
		while (indexes[++at] === end) end++;
		return { startBytes: Math.max(positionBytes, first * chunkBytes), endBytes: Math.min(this.#sizeBytes, end * chunkBytes) };
	}

	/** Bytes of space that a write to the range would take in addition. */
	missingBytes(positionBytes: number, lengthBytes: number): number {
		let missing = 0;
		const end = Math.ceil((positionBytes + lengthBytes) / chunkBytes);
		for (let index = Math.floor(positionBytes / chunkBytes); index < end; index++) if (!this.#chunks.has(index)) missing++;
		return missing * chunkBytes;
	}

	#own(): void {
		if (!this.#shared) return;
		this.#chunks = new Map(this.#chunks);
		this.#shared = false;
	}

	#put(index: number, chunk: Uint8Array): void {
		if (this.#sortedIndexes !== undefined && !this.#chunks.has(index)) this.#sortedIndexes = undefined;
		this.#chunks.set(index, chunk);
	}

	#drop(index: number): void {
		if (this.#chunks.delete(index)) this.#sortedIndexes = undefined;
	}

	#patch(index: number, start: number, part: Uint8Array): void {
		const chunk = new Uint8Array(this.#chunks.get(index) ?? zeroChunk);
		chunk.set(part, start);
		this.#put(index, chunk);
	}

	#zeroWithinChunk(positionBytes: number, endBytes: number): void {
		if (positionBytes >= endBytes) return;
		const start = positionBytes % chunkBytes;
		const index = (positionBytes - start) / chunkBytes;
		if (this.#chunks.has(index)) this.#patch(index, start, zeroChunk.subarray(0, endBytes - positionBytes));
	}

	/** Indexes of chunks in a range, whichever of both is cheaper: walking the range or the map. */
	#within(first: number, end: number): number[] {
		const found: number[] = [];
		if (end - first <= this.#chunks.size) {
			for (let index = first; index < end; index++) if (this.#chunks.has(index)) found.push(index);
		} else {
			for (const index of this.#chunks.keys()) if (index >= first && index < end) found.push(index);
		}
		return found;
	}

	#sorted(): number[] {
		this.#sortedIndexes ??= [...this.#chunks.keys()].toSorted((a, b) => a - b);
		return this.#sortedIndexes;
	}
}

function lowerBound(sorted: readonly number[], wanted: number): number {
	let low = 0;
	let high = sorted.length;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if ((sorted[middle] ?? Infinity) < wanted) low = middle + 1;
		else high = middle;
	}
	return low;
}

function isZero(data: Uint8Array): boolean {
	return Buffer.compare(data, zeroChunk) === 0;
}
