import { limits } from './limits.ts';
import type { NextStep, Request } from './request.ts';
import { status } from './status.ts';

/** NVMe Base 2.0, Asynchronous Event Request: type, information and the log page that clears the event. `bit` is that of feature 0Bh which has to be set; undefined: always told. */
export interface AsynchronousEvent {
	readonly type: number;
	readonly information: number;
	readonly lid: number;
	readonly bit: number | undefined;
}

export const asynchronousEvents = {
	reliabilityDegraded: { type: 1, information: 0x00, lid: 0x02, bit: 2 },
	namespaceAttributeChanged: { type: 2, information: 0x00, lid: 0x04, bit: 8 },
	discoveryLogChanged: { type: 2, information: 0xf0, lid: 0x70, bit: 31 },
	reservationLogAvailable: { type: 6, information: 0x00, lid: 0x80, bit: undefined },
} as const satisfies Record<string, AsynchronousEvent>;

/**
 * The Asynchronous Event Requests of a controller and the events that wait for one.
 *
 * - A request is held until there is something to tell: one that is answered at once comes back at once.
 * - An event is told once, and then masked until its log page is read without Retain Asynchronous Event; meanwhile it may become due again, which is one event however often.
 */
export class AsynchronousEvents {
	/** Asynchronous Event Configuration, feature 0Bh. */
	configuration = 0;
	readonly #finish: (request: Request) => void;
	readonly #requests: Request[] = [];
	readonly #due = new Set<AsynchronousEvent>();
	readonly #masked = new Set<AsynchronousEvent>();

	constructor(finish: (request: Request) => void) {
		this.#finish = finish;
	}

	get outstanding(): number {
		return this.#requests.length;
	}

	/** A new Asynchronous Event Request. */
	request(request: Request): NextStep {
		if (this.#requests.length === limits.asynchronousEventRequests) return request.end(status.asynchronousEventRequestLimitExceeded);
		const event = this.#next();
		if (event !== undefined) {
			this.#tell(request, event);
			return 'finished';
		}
		request.awaitsEvent = true;
		this.#requests.push(request);
		return 'pending';
	}

	/** Something happened that is told if the host asked for it. */
	raise(event: AsynchronousEvent): void {
		if (!this.#isWanted(event)) return;
		this.#due.add(event);
		this.#deliver();
	}

	/** The log page was read without RAE: what was due for it is known now, and the next event may be told. */
	clear(lid: number): void {
		for (const event of this.#due) if (event.lid === lid) this.#due.delete(event);
		for (const event of this.#masked) if (event.lid === lid) this.#masked.delete(event);
	}

	/** Ends the request with that command identifier; false if none is held. */
	abort(select: (request: Request) => boolean): boolean {
		const index = this.#requests.findIndex(select);
		const request = this.#requests[index];
		if (request === undefined) return false;
		this.#requests.splice(index, 1);
		request.end(status.commandAbortRequested);
		this.#finish(request);
		return true;
	}

	/** Reset and shutdown: the requests end, and nothing is due any more. */
	reset(): void {
		this.configuration = 0;
		this.#due.clear();
		this.#masked.clear();
		for (const request of this.#requests.splice(0)) {
			request.end(status.commandAbortedSQDeletion, false);
			this.#finish(request);
		}
	}

	/** The admin queue is gone, and its requests with it. */
	forget(): void {
		this.#requests.length = 0;
	}

	#isWanted({ bit }: AsynchronousEvent): boolean {
		return bit === undefined || ((this.configuration >>> bit) & 1) === 1;
	}

	#next(): AsynchronousEvent | undefined {
		for (const event of this.#due) {
			// The host may have masked it since it became due.
			if (!this.#isWanted(event)) this.#due.delete(event);
			else if (!this.#masked.has(event)) return event;
		}
		return undefined;
	}

	#deliver(): void {
		if (this.#requests.length === 0) return;
		const event = this.#next();
		if (event === undefined) return;
		const request = this.#requests.shift()!;
		this.#tell(request, event);
		this.#finish(request);
	}

	#tell(request: Request, event: AsynchronousEvent): void {
		this.#due.delete(event);
		this.#masked.add(event);
		request.result0 = event.type | (event.information << 8) | (event.lid << 16);
	}
}
