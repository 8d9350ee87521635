import type { Outcome } from '../blockvol/block-device.ts';
import { limits } from './limits.ts';
import { endWithOutcome } from './outcome-status.ts';
import type { Request } from './request.ts';
import { status } from './status.ts';

/** What is done with a range that is read piece by piece. */
export interface Visitor {
	/** After a piece that is in the buffer. False if the request was ended and the walk is over. */
	visited(offsetBytes: number, lengthBytes: number): boolean;
	/** A piece could not be read. */
	failed(outcome: Outcome): void;
	/** The walk is over. The request's status is set, and the buffer is free. */
	done(): void;
}

/**
 * Reads the range of a request in pieces, one after another, into one buffer, so that a command of any length holds no more. A piece ends where an aligned one would. The walk ends with the
 * last piece, the first bad one, or the first after the request was aborted. With `fua` everything is put on stable storage before the first.
 */
export function walkRange(request: Request, buffer: Buffer, visitor: Visitor): void {
	const { device } = request;
	if (device === undefined) throw new Error('a range has a device');
	const endBytes = request.offsetBytes + request.lengthBytes;
	let at = request.offsetBytes;
	let lengthBytes = 0;
	const next = (): void => {
		lengthBytes = Math.min(limits.pieceBytes - (at % limits.pieceBytes), endBytes - at);
		device.read(at, buffer.subarray(0, lengthBytes), request);
	};
	let isFlushing = request.fua;
	request.onOutcome = (_request, outcome) => {
		if (outcome !== 'good') {
			endWithOutcome(request, outcome, 'read');
			visitor.failed(outcome);
			visitor.done();
			return;
		}
		if (isFlushing) isFlushing = false;
		else if (visitor.visited(at, lengthBytes)) at += lengthBytes;
		else {
			visitor.done();
			return;
		}
		if (at === endBytes) visitor.done();
		else if (request.aborted) {
			request.end(status.commandAbortRequested);
			visitor.done();
		} else next();
	};
	if (isFlushing) device.flush(request);
	else next();
}
