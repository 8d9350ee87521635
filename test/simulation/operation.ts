export type OperationKind =
	| 'open'
	| 'list'
	| 'makeDirectory'
	| 'rename'
	| 'link'
	| 'links'
	| 'remove'
	| 'removeDirectory'
	| 'syncDirectory'
	| 'lock'
	| 'describe'
	| 'freeBytes'
	| 'sizeBytes'
	| 'tryRead'
	| 'read'
	| 'writeSync'
	| 'write'
	| 'datasync'
	| 'punch'
	| 'nextData'
	| 'allocatedBytes'
	| 'truncate'
	| 'close';

/** One call that reaches the disk. Numbers count from 0 in the order in which calls take effect. */
export interface Operation {
	readonly number: number;
	readonly kind: OperationKind;
	readonly path: string;
	readonly positionBytes: number;
	readonly lengthBytes: number;
}

/** Operations that change what is on the disk or what of it is durable: only between these do crashes differ. */
export const changingKinds: ReadonlySet<OperationKind> = new Set([
	'open',
	'makeDirectory',
	'rename',
	'link',
	'remove',
	'removeDirectory',
	'syncDirectory',
	'lock',
	'describe',
	'writeSync',
	'write',
	'datasync',
	'punch',
	'truncate',
]);

/**
 * What goes wrong with an operation.
 * - error: it fails with the kernel's code. A failed datasync leaves what was unsynced in limbo; of a failed write a part may be there
 * - short: about so many bytes are transferred; a write ends between sectors
 * - misdirected: a read returns the bytes of another place in the file
 * - flippedBit: a read returns one wrong bit
 */
export type Fault =
	| { readonly kind: 'error'; readonly code: string }
	| { readonly kind: 'short'; readonly bytesMax: number }
	| { readonly kind: 'misdirected'; readonly byBytes: number }
	| { readonly kind: 'flippedBit'; readonly byteIndex: number; readonly bit: number };

export type FaultRule = (operation: Operation) => Fault | undefined;

/** Thrown by a synchronous call when the power goes; asynchronous calls simply never complete. */
export class PowerLost extends Error {
	constructor() {
		super('the power is gone');
		this.name = 'PowerLost';
	}
}

export function kernelError(code: string, path: string): Error {
	return Object.assign(new Error(`${code}: ${path}`), { code });
}
