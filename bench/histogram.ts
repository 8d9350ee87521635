const subBuckets = 64;
const rows = 24;

/**
 * Latencies in microseconds, exact to 1/64 of their size, from 1 µs to about 18 minutes. Recording allocates nothing.
 */
export class LatencyHistogram {
	readonly #counts = new Uint32Array(subBuckets * rows);
	#total = 0;
	#maxUs = 0;

	get total(): number {
		return this.#total;
	}

	get maxUs(): number {
		return this.#maxUs;
	}

	record(us: number): void {
		const value = us < 0 ? 0 : us | 0;
		this.#counts[bucketOf(value)]!++;
		this.#total++;
		if (value > this.#maxUs) this.#maxUs = value;
	}

	/** What another one has recorded, too. */
	add(other: LatencyHistogram): void {
		for (let bucket = 0; bucket < this.#counts.length; bucket++) this.#counts[bucket]! += other.#counts[bucket]!;
		this.#total += other.#total;
		this.#maxUs = Math.max(this.#maxUs, other.#maxUs);
	}

	/** The largest latency of each bucket that holds any, and how many, ascending. */
	entries(): [number, number][] {
		const found: [number, number][] = [];
		this.#counts.forEach((count, bucket) => {
			if (count > 0) found.push([lastOf(bucket), count]);
		});
		return found;
	}

	clear(): void {
		this.#counts.fill(0);
		this.#total = 0;
		this.#maxUs = 0;
	}

	/** The latency that a share of the records (0 to 1) does not exceed; 0 when there are none. */
	quantileUs(share: number): number {
		const rank = Math.max(1, Math.ceil(this.#total * share));
		let seen = 0;
		for (let bucket = 0; bucket < this.#counts.length; bucket++) {
			seen += this.#counts[bucket]!;
			if (seen >= rank) return lastOf(bucket);
		}
		return 0;
	}
}

/** Values below 64 have a bucket each; above, every power of two is cut into 32 to keep 1/32 to 1/64 of precision. */
function bucketOf(value: number): number {
	if (value < subBuckets) return value;
	const shift = 26 - Math.clz32(value);
	return Math.min(shift * (subBuckets / 2) + (value >>> shift), subBuckets * rows - 1);
}

function lastOf(bucket: number): number {
	if (bucket < subBuckets) return bucket;
	const shift = Math.floor(bucket / (subBuckets / 2)) - 1;
	const mantissa = bucket - shift * (subBuckets / 2);
	return ((mantissa + 1) << shift) - 1;
}
