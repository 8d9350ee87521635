import { authenticationReceive, authenticationSend } from './authentication-commands.ts';
import { connect } from './connect.ts';
import { disconnect } from './disconnect.ts';
import { propertyGet, propertySet } from './property-commands.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';
import { FabricsSQE } from './sqe.ts';

/** A Fabrics command (NVMe Base 2.0, Fabrics Command Set). */
export interface FabricsCommand {
	readonly name: string;
	readonly fctype: number;
	/** From which state of the queue on it is taken. */
	readonly from: 'unconnected' | 'unauthenticated' | 'connected';
	start(queue: Queue, request: Request): NextStep;
	parameters?(queue: Queue, request: Request, data: Buffer): NextStep;
}

export const fabricsCommands: readonly FabricsCommand[] = [
	propertySet,
	connect,
	propertyGet,
	authenticationSend,
	authenticationReceive,
	disconnect,
];

const byType = new Map(fabricsCommands.map((command) => [command.fctype, command]));

export function findFabricsCommand(sqe: Buffer): FabricsCommand | undefined {
	return byType.get(FabricsSQE.fctype.get(sqe, 0));
}
