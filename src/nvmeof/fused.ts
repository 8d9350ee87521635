import { ok as assert } from 'node:assert';
import type { CompareCompletion, Outcome } from '../blockvol/block-device.ts';
import type { IoContext } from './io-command.ts';
import { checkIO } from './io-commands.ts';
import { limits } from './limits.ts';
import { endWithOutcome } from './outcome-status.ts';
import type { NextStep, Request } from './request.ts';
import { CommonSQE, RangeSQE, fuse } from './sqe.ts';
import { status } from './status.ts';

/** The only fused operation (FUSES bit 0). */
const first = 0x05;
const second = 0x01;

/**
 * Compare and Write as one operation (NVMe Base 2.0, Fused Operations; NVM Command Set 1.0, Compare and Write): the first command of a queue's pair and the second right behind it. Each collects its
 * data like any other command, in either order; when both are here the device does it in one step. A command that has its data waits for the other as `pending`.
 *
 * What becomes of the two:
 *
 * | What is wrong                                | First                  | Second                 |
 * | -------------------------------------------- | ---------------------- | ---------------------- |
 * | the first, before or on the way of its data  | its status             | Failed Fused Command   |
 * | the second, the same                         | Failed Fused Command   | its status             |
 * | it is no Compare and Write, or ranges differ | Invalid Field          | Invalid Field          |
 * | no second right behind the first             | Missing Fused Command  |                        |
 * | no first right before the second             |                        | Missing Fused Command  |
 * | the data differs, or cannot be read          | Compare Failure, …     | Failed Fused Command   |
 * | the data cannot be written                   | Failed Fused Command   | its status             |
 */
export class FusedPairs {
	readonly #context: IoContext;
	/** The pair whose second has not come yet, or 'failed' when its first is over already. */
	#open: Pair | 'failed' | undefined = undefined;
	/** Pairs by each of their requests that is outstanding. */
	readonly #pairs = new Map<Request, Pair>();

	constructor(context: IoContext) {
		this.#context = context;
	}

	/** A first was there, and the next command has to be its second. */
	get waits(): boolean {
		return this.#open !== undefined;
	}

	/** The next command is not the second that a first waits for. */
	missing(): void {
		const open = this.#open;
		this.#open = undefined;
		if (open instanceof Pair) this.#fail(open, 'first', status.missingFusedCommand);
	}

	start(request: Request): NextStep {
		switch (CommonSQE.fuse.get(request.sqe, 0)) {
			case fuse.first:
				return this.#startFirst(request);
			case fuse.second:
				return this.#startSecond(request);
			default:
				return request.end(status.invalidField);
		}
	}

	/** The data of a half is here. */
	parameters(request: Request, data: Buffer): NextStep {
		const pair = this.#pairs.get(request);
		assert(pair !== undefined);
		const half = pair.half(request);
		half.data = data;
		if (half.failure !== undefined) {
			this.#pairs.delete(request);
			return request.end(half.failure);
		}
		// A target that stops does not wait for a host to send the second.
		request.awaitsEvent = true;
		this.#run(pair);
		return 'pending';
	}

	/** The transport has ended a half by itself. */
	lost(request: Request): void {
		const pair = this.#pairs.get(request);
		if (pair === undefined) return;
		this.#pairs.delete(request);
		if (pair === this.#open) this.#open = 'failed';
		const other = pair.first.request === request ? 'second' : 'first';
		pair.half(request).isOver = true;
		this.#fail(pair, other, status.failedFusedCommand);
	}

	/** Ends one half that waits for the other; false if none that is selected does. */
	abort(select: (request: Request) => boolean): boolean {
		for (const [request, pair] of this.#pairs) {
			if (pair.isRunning || pair.half(request).data === undefined || !select(request)) continue;
			if (pair === this.#open) this.#open = 'failed';
			this.#fail(pair, pair.first.request === request ? 'first' : 'second', status.commandAbortRequested);
			this.#fail(pair, pair.first.request === request ? 'second' : 'first', status.failedFusedCommand);
			return true;
		}
		return false;
	}

	/** The connection is gone, and what waited with it. A pair that the device works on comes to its end by itself. */
	forget(): void {
		this.#open = undefined;
		this.#pairs.clear();
	}

	#startFirst(request: Request): NextStep {
		const step = this.#check(request, first);
		if (step === 'finished') {
			this.#open = 'failed';
			return step;
		}
		const pair = new Pair(request, (done, outcome) => this.#done(done, outcome));
		this.#open = pair;
		this.#pairs.set(request, pair);
		return step;
	}

	#startSecond(request: Request): NextStep {
		const open = this.#open;
		this.#open = undefined;
		if (open === undefined) return request.end(status.missingFusedCommand);
		if (open === 'failed') return request.end(status.failedFusedCommand);
		const firstSqe = open.first.request.sqe;
		const { sqe } = request;
		const isPair =
			sqe[0] === second &&
			CommonSQE.nsid.get(sqe, 0) === CommonSQE.nsid.get(firstSqe, 0) &&
			RangeSQE.slba.get(sqe, 0) === RangeSQE.slba.get(firstSqe, 0) &&
			RangeSQE.nlb.get(sqe, 0) === RangeSQE.nlb.get(firstSqe, 0);
		if (!isPair) {
			this.#fail(open, 'first', status.invalidField);
			return request.end(status.invalidField);
		}
		if (this.#check(request, second) === 'finished') {
			this.#fail(open, 'first', status.failedFusedCommand);
			return 'finished';
		}
		open.second = new Half(request);
		this.#pairs.set(request, open);
		return 'parameters';
	}

	/** What is checked of the command if it came alone, and the size. */
	#check(request: Request, opcode: number): NextStep {
		if (request.sqe[0] !== opcode) return request.end(status.invalidField);
		const step = checkIO(this.#context, request);
		if (step === 'finished') return step;
		return request.lengthBytes > limits.atomicBytes ? request.end(status.atomicWriteUnitExceeded) : 'parameters';
	}

	/** Ends a half: now if it waits, else when its data is here, because until then it is the transport's. */
	#fail(pair: Pair, which: 'first' | 'second', code: number): void {
		const half = which === 'first' ? pair.first : pair.second;
		if (half === undefined || half.isOver || half.failure !== undefined) return;
		half.failure = code;
		if (half.data === undefined) return;
		half.isOver = true;
		this.#pairs.delete(half.request);
		half.request.end(code);
		this.#context.queue.finish(half.request);
	}

	#run(pair: Pair): void {
		const { request, data } = pair.first;
		if (data === undefined || pair.second?.data === undefined) return;
		const { device, offsetBytes } = pair.second.request;
		assert(device !== undefined);
		pair.isRunning = true;
		request.awaitsEvent = false;
		pair.second.request.awaitsEvent = false;
		device.compareAndWrite(offsetBytes, data, pair.second.data, pair.second.request.fua, pair);
	}

	#done(pair: Pair, outcome: Outcome): void {
		const { queue, controller } = this.#context;
		const one = pair.first.request;
		const other = pair.second!.request;
		this.#pairs.delete(one);
		this.#pairs.delete(other);
		const statistics = controller.subsystem.namespaces.get(CommonSQE.nsid.get(one.sqe, 0))?.statistics;
		statistics?.read(one.lengthBytes);
		statistics?.failed(outcome);
		if (outcome === 'miscompare' || outcome === 'mediumError') {
			endWithOutcome(one, outcome, 'read');
			other.end(status.failedFusedCommand);
		} else if (outcome !== 'good') {
			one.end(status.failedFusedCommand);
			endWithOutcome(other, outcome, 'write');
		}
		queue.finish(one);
		queue.finish(other);
	}
}

/** One command of a pair. */
class Half {
	readonly request: Request;
	/** Undefined until it is here whole. */
	data: Buffer | undefined = undefined;
	/** What it is to end with when its data is here. */
	failure: number | undefined = undefined;
	isOver = false;

	constructor(request: Request) {
		this.request = request;
	}
}

class Pair implements CompareCompletion {
	readonly first: Half;
	second: Half | undefined = undefined;
	isRunning = false;
	miscompareOffset = 0;
	readonly #done: (pair: Pair, outcome: Outcome) => void;

	constructor(request: Request, done: (pair: Pair, outcome: Outcome) => void) {
		this.first = new Half(request);
		this.#done = done;
	}

	complete(outcome: Outcome): void {
		this.#done(this, outcome);
	}

	half(request: Request): Half {
		if (request === this.first.request) return this.first;
		assert(this.second?.request === request);
		return this.second;
	}
}
