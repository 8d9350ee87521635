import { senseData } from '../scsi/sense.ts';
import { status } from '../scsi/task.ts';
import type { IscsiTask } from './task.ts';

/** RFC 7143 §11.4.7.2: sense of commands that the transport itself ends. Key, additional code and qualifier. */
export const transportSense = {
	unexpectedUnsolicitedData: { key: 0xb, code: 0x0c0c },
	incorrectAmountOfData: { key: 0xb, code: 0x0c0d },
	protocolServiceCRCError: { key: 0xb, code: 0x4705 },
	/** SAM-5: the ACA task attribute where there is no ACA, and attributes that RFC 7143 reserves. */
	invalidMessageError: { key: 0x5, code: 0x4900 },
	/** No code of the standard: commands longer than 16 bytes and bidirectional ones do not exist here (SPC-4). */
	invalidCommandOperationCode: { key: 0x5, code: 0x2000 },
	/** The PDU's direction bits contradict the CDB. */
	invalidFieldInCDB: { key: 0x5, code: 0x2400 },
} as const;

export function check(task: IscsiTask, sense: { readonly key: number; readonly code: number }): void {
	task.scsi.status = status.checkCondition;
	task.scsi.sense = senseData(sense, task.unit?.senseFormat ?? 'fixed');
	task.scsi.dataIn = undefined;
}
