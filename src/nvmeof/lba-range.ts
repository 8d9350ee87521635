import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { Request } from './request.ts';
import { RangeSQE } from './sqe.ts';
import { status } from './status.ts';

/** True if a range ends inside the namespace. An SLBA above 2^53 comes rounded, where it is beyond every capacity; no sum is formed, so nothing wraps. */
export function isInside(namespace: Namespace, slba: number, blocks: number): boolean {
	return blocks <= namespace.blocks - slba;
}

/** Puts the range of a command into its request as bytes. False if it has ended the request: longer than `bytesMax`, or beyond the last block. */
export function placeRange(namespace: Namespace, request: Request, bytesMax: number = limits.transferBytesMax): boolean {
	const { blockSize } = namespace.device;
	const slba = RangeSQE.slba.get(request.sqe, 0);
	// 0's based.
	const blocks = RangeSQE.nlb.get(request.sqe, 0) + 1;
	if (blocks * blockSize > bytesMax) {
		request.end(status.invalidField);
		return false;
	}
	if (!isInside(namespace, slba, blocks)) {
		request.end(status.lbaOutOfRange);
		return false;
	}
	request.device = namespace.device;
	request.offsetBytes = slba * blockSize;
	request.lengthBytes = blocks * blockSize;
	return true;
}
