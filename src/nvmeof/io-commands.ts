import { ok as assert } from 'node:assert';
import type { IoCommand, IoContext } from './io-command.ts';
import { compare } from './io-compare.ts';
import { datasetManagement } from './io-dataset-management.ts';
import { flush } from './io-flush.ts';
import { read, write } from './io-read-write.ts';
import { reservationAcquire, reservationRegister, reservationRelease, reservationReport } from './io-reservation.ts';
import { verify } from './io-verify.ts';
import { writeZeroes } from './io-write-zeroes.ts';
import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { NextStep, Request } from './request.ts';
import { CommonSQE, everyNamespace, fuse, psdtSGL } from './sqe.ts';
import { status } from './status.ts';

/** Every command of I/O queues besides the Fabrics commands, once: what is dispatched is what Identify and the effects log show. Ascending by opcode. */
export const ioCommands: readonly IoCommand[] = [
	flush,
	write,
	read,
	compare,
	writeZeroes,
	datasetManagement,
	verify,
	reservationRegister,
	reservationReport,
	reservationAcquire,
	reservationRelease,
];

const byOpcode = Array.from<unknown, IoCommand | undefined>({ length: 256 }, () => undefined);
for (const command of ioCommands) {
	if (byOpcode[command.opcode] !== undefined) throw new Error(`${command.name}: opcode is taken`);
	byOpcode[command.opcode] = command;
}

/** FUSE 0, PSDT 01b, the rest of the byte reserved. */
const plainFlags = psdtSGL << 6;
const flagsMask = 0b1100_0011;

/** A command of an I/O queue whose controller is ready. */
export function startIO(context: IoContext, request: Request): NextStep {
	const flags = request.sqe[1]! & flagsMask;
	const { fused } = context.queue;
	if (fused !== undefined && (flags !== plainFlags || fused.waits)) {
		const fusedPart = flags & 0b11;
		// The second of a pair has to follow right behind the first.
		if (fusedPart !== fuse.second) fused.missing();
		if (fusedPart !== fuse.normal) return fused.start(request);
	}
	return checkIO(context, request);
}

/** Everything that is checked of a command before it is begun, whether alone or fused; then begins it. */
export function checkIO(context: IoContext, request: Request): NextStep {
	const { sqe } = request;
	if (sqe[1]! >>> 6 !== psdtSGL) return request.end(status.invalidField);
	const command = byOpcode[sqe[0]!];
	if (command === undefined) return request.end(status.invalidCommandOpcode);
	const nsid = CommonSQE.nsid.get(sqe, 0);
	const namespace = context.controller.subsystem.namespaces.get(nsid);
	if (namespace === undefined) {
		if (nsid === everyNamespace && command.startAll !== undefined) return command.startAll(context, request);
		return endWithoutNamespace(request, nsid);
	}
	if (command.access !== 'none') {
		if (command.access === 'write' && namespace.readOnly) return request.end(status.namespaceIsWriteProtected);
		if (!namespace.reservations.allows(context.controller.host.registrant, command.access)) return request.end(status.reservationConflict);
	}
	return command.start(context, request, namespace);
}

/** NVMe Base 2.0, NSID and Namespace Relationships: one that could not be is another fault than one that is not there. */
export function endWithoutNamespace(request: Request, nsid: number): 'finished' {
	return request.end(nsid === 0 || nsid > limits.namespacesPerSubsystem ? status.invalidNamespaceOrFormat : status.invalidField);
}

/** The data of a command whose step was `parameters`. */
export function ioParameters(context: IoContext, request: Request, data: Buffer): NextStep {
	if (CommonSQE.fuse.get(request.sqe, 0) !== fuse.normal) return context.queue.fused!.parameters(request, data);
	const command = byOpcode[request.sqe[0]!];
	assert(command?.parameters !== undefined);
	const namespace: Namespace | undefined = context.controller.subsystem.namespaces.get(CommonSQE.nsid.get(request.sqe, 0));
	// It went while its data came.
	if (namespace === undefined) return request.end(status.invalidField);
	return command.parameters(context, request, namespace, data);
}

/** ONCS: the optional commands that there are. */
export function optionalCommands(): number {
	return ioCommands.reduce((mask, { oncs }) => (oncs === undefined ? mask : mask | (1 << oncs)), 0);
}
