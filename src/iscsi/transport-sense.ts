import { additionalSense, senseData, senseKey } from '../scsi/sense.ts';
import { status } from '../scsi/task.ts';
import type { IscsiTask } from './task.ts';

/** RFC 7143 §11.4.7.2: sense of commands that the transport itself ends. Key, additional code and qualifier. */
export const transportSense = {
	unexpectedUnsolicitedData: { key: senseKey.abortedCommand, code: 0x0c0c },
	incorrectAmountOfData: { key: senseKey.abortedCommand, code: 0x0c0d },
	protocolServiceCRCError: { key: senseKey.abortedCommand, code: 0x4705 },
	/** SAM-5: the ACA task attribute where there is no ACA, and attributes that RFC 7143 reserves. */
	invalidMessageError: { key: senseKey.illegalRequest, code: 0x4900 },
	/** No code of the standard: commands longer than 16 bytes and bidirectional ones do not exist here (SPC-4). */
	invalidCommandOperationCode: { key: senseKey.illegalRequest, code: additionalSense.invalidCommandOperationCode },
	/** The PDU's direction bits contradict the CDB. */
	invalidFieldInCDB: { key: senseKey.illegalRequest, code: additionalSense.invalidFieldInCdb },
} as const;

export function check(task: IscsiTask, sense: { readonly key: number; readonly code: number }): void {
	task.scsi.status = status.checkCondition;
	task.scsi.sense = senseData(sense, task.unit?.senseFormat ?? 'fixed');
	task.scsi.dataIn = undefined;
}
