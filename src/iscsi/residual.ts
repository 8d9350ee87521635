import { status } from '../scsi/task.ts';
import { overflowBit, underflowBit } from './pdu.ts';
import type { IscsiTask } from './task.ts';

/**
 * RFC 7143 §11.4.5: what the initiator expected against what the command was about. For a command that did not end well, against what was transferred.
 */
export function residual(task: IscsiTask): { flags: number; count: number } {
	const { scsi } = task;
	const sends = task.step === 'read' || scsi.dataIn !== undefined;
	const expected = task.read || (task.write && !sends) ? task.expectedDataTransferLength : 0;
	let due: number;
	if (scsi.status !== status.good) due = Math.min(expected, task.write ? task.handedBytes : task.sentBytes);
	else if (scsi.dataIn !== undefined) due = scsi.dataIn.length;
	else due = task.dueBytes;
	if (due > expected) return { flags: overflowBit, count: due - expected };
	if (due < expected) return { flags: underflowBit, count: expected - due };
	return { flags: 0, count: 0 };
}
