import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from './api-client.ts';

/** Pauses between attempts: an appliance that is restarted, and replays much, is back within a minute. */
const pausesMs = [250, 500, 1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000, 8000];

/** Does what a lost connection may have broken off, again and again for a while. */
export async function insist<T>(attempt: () => Promise<T>, isWorthIt: (error: unknown) => boolean = isPassing): Promise<T> {
	for (const pauseMs of pausesMs) {
		try {
			return await attempt();
		} catch (error) {
			if (!isWorthIt(error)) throw error;
			await delay(pauseMs);
		}
	}
	return await attempt();
}

/** No answer, one of an appliance that starts or stops, or of one whose disk was too slow for the time that a request has. */
export function isPassing(error: unknown): boolean {
	return error instanceof ApiError && [0, 408, 503].includes(error.status);
}

/** Who answers is there, but not ready. */
export function isStarting(error: unknown): boolean {
	return error instanceof ApiError && error.status === 503;
}

/** The results of work in its order, with the next one already begun while one is used. */
export async function* oneAhead<Item, Result>(items: AsyncIterable<Item>, work: (item: Item) => Promise<Result>): AsyncGenerator<Result> {
	let running: Promise<Result> | undefined;
	try {
		for await (const item of items) {
			const next = work(item);
			// Whoever takes the results is told when it comes to this one.
			next.catch(() => undefined);
			if (running !== undefined) yield await running;
			running = next;
		}
		if (running !== undefined) yield await running;
	} finally {
		await running?.catch(() => undefined);
	}
}
