import { randomBytes } from 'node:crypto';

const secret = new Uint32Array(4);
secret.set(new Uint32Array(new Uint8Array(randomBytes(16)).buffer));
const [addFirst = 0, addSecond = 0, timesFirst = 0, timesSecond = 0] = secret;

/**
 * Where 64 bits stand in a hash table: 32 bits that depend on numbers drawn for this process. Names and generations come from the store, and whoever writes to it could choose them so that
 * all have one place: 60,000 of those held the main thread up for ten seconds.
 */
export function secretPlace(first: number, second: number): number {
	let place = mixed(first ^ addFirst, timesFirst);
	place = mixed(place ^ second ^ addSecond, timesSecond);
	return place ^ (place >>> 15);
}

/** One to one, for any factor that is made odd. */
function mixed(bits: number, factor: number): number {
	const once = Math.imul(bits ^ (bits >>> 16), factor | 1);
	const twice = Math.imul(once ^ (once >>> 15), 0x2c1b3c6d);
	return twice ^ (twice >>> 12);
}
