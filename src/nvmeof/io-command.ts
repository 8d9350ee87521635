import type { Namespace } from './namespace.ts';
import type { NvmController } from './nvm-controller.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';

/** Where an I/O command came from. */
export interface IoContext {
	readonly queue: Queue;
	readonly controller: NvmController;
}

/** One row of the dispatch table for I/O queues. ONCS and the Commands Supported and Effects log show the same rows. */
export interface IoCommand {
	/** The standard's name. */
	readonly name: string;
	readonly opcode: number;
	/** Its bit in ONCS; undefined for commands that every controller has. */
	readonly oncs?: number;
	/** Its group in the presence of a reservation (NVMe Base 2.0); `write` is refused by a namespace that is write protected. */
	readonly access: 'read' | 'write' | 'none';
	/** LBCC of the effects log. */
	readonly changesContent: boolean;
	/** The namespace is active and the reservation lets the command through. */
	start(context: IoContext, request: Request, namespace: Namespace): NextStep;
	/** For NSID FFFFFFFFh; without it such a command is refused. */
	startAll?(context: IoContext, request: Request): NextStep;
	/** Goes on with the data, if start() answers `parameters`. */
	parameters?(context: IoContext, request: Request, namespace: Namespace, data: Buffer): NextStep;
}
