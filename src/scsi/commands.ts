import type { Command } from './command.ts';
import { compareAndWrite } from './compare-and-write.ts';
import { extendedCopy } from './extended-copy.ts';
import { getLbaStatus } from './get-lba-status.ts';
import { inquiry } from './inquiry.ts';
import { logSense } from './log-sense.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { modeSelect10, modeSelect6 } from './mode-select.ts';
import { modeSense10, modeSense6 } from './mode-sense.ts';
import { readFullStatus, readKeys, readReservation, reportCapabilities } from './persistent-reserve-in.ts';
import {
	clear,
	preempt,
	preemptAndAbort,
	registerAndIgnoreExistingKey,
	registerAndMove,
	registerNexus,
	release,
	reserve,
} from './persistent-reserve-out.ts';
import { orwrite16 } from './orwrite.ts';
import { preFetch10, preFetch16 } from './pre-fetch.ts';
import { readDefectData10, readDefectData12 } from './read-defect-data.ts';
import { read10, read12, read16, read6, write10, write12, write16, write6 } from './read-write.ts';
import { readCapacity10, readCapacity16 } from './read-capacity.ts';
import { receiveCopyOperatingParameters, receiveCopyStatus } from './receive-copy-results.ts';
import { reportLunsCommand } from './report-luns.ts';
import { defineReportSupportedOperationCodes } from './report-supported-operation-codes.ts';
import { reportSupportedTaskManagementFunctions } from './report-supported-tmf.ts';
import { release10, release6, reserve10, reserve6 } from './reserve-release.ts';
import { requestSense } from './request-sense.ts';
import { sanitizeBlockErase, sanitizeExitFailureMode, sanitizeOverwrite } from './sanitize.ts';
import { preventAllowMediumRemoval, startStopUnit, testUnitReady } from './start-stop.ts';
import { synchronizeCache10, synchronizeCache16 } from './synchronize-cache.ts';
import { reportTargetPortGroups, setTargetPortGroups } from './target-port-groups.ts';
import { unmap } from './unmap.ts';
import { verify10, verify12, verify16 } from './verify.ts';
import { writeAndVerify10, writeAndVerify12, writeAndVerify16 } from './write-and-verify.ts';
import { writeAtomic16 } from './write-atomic.ts';
import { writeSame10, writeSame16 } from './write-same.ts';

/** Every command of the device server, once: what is dispatched is what REPORT SUPPORTED OPERATION CODES shows. Ascending by operation code. */
export const commands: readonly Command[] = [
	testUnitReady,
	requestSense,
	read6,
	write6,
	inquiry,
	modeSelect6,
	reserve6,
	release6,
	modeSense6,
	startStopUnit,
	preventAllowMediumRemoval,
	readCapacity10,
	read10,
	write10,
	writeAndVerify10,
	verify10,
	preFetch10,
	synchronizeCache10,
	readDefectData10,
	writeSame10,
	unmap,
	sanitizeOverwrite,
	sanitizeBlockErase,
	sanitizeExitFailureMode,
	logSense,
	modeSelect10,
	reserve10,
	release10,
	modeSense10,
	readKeys,
	readReservation,
	reportCapabilities,
	readFullStatus,
	registerNexus,
	reserve,
	release,
	clear,
	preempt,
	preemptAndAbort,
	registerAndIgnoreExistingKey,
	registerAndMove,
	extendedCopy,
	receiveCopyStatus,
	receiveCopyOperatingParameters,
	read16,
	compareAndWrite,
	write16,
	orwrite16,
	writeAndVerify16,
	verify16,
	preFetch16,
	synchronizeCache16,
	writeSame16,
	writeAtomic16,
	readCapacity16,
	getLbaStatus,
	reportLunsCommand,
	reportTargetPortGroups,
	defineReportSupportedOperationCodes(() => commands),
	reportSupportedTaskManagementFunctions,
	setTargetPortGroups,
	read12,
	write12,
	writeAndVerify12,
	verify12,
	readDefectData12,
];

const { byOpcode, byServiceAction } = buildTables();

/** The command that a CDB asks for; undefined if there is none. Not every unit offers it. */
export function findCommand(cdb: Buffer): Command | undefined {
	return byOpcode[cdb[0]!] ?? byServiceAction.get(cdb[0]!)?.get(cdb[1]! & 0x1f);
}

/** Whether the CDB's operation code exists on a unit and needs a service action. */
export function hasServiceActions(cdb: Buffer, unit: LogicalUnit): boolean {
	const actions = byServiceAction.get(cdb[0]!);
	return actions !== undefined && [...actions.values()].some((command) => command.isOffered(unit));
}

function buildTables() {
	const direct = Array.from<unknown, Command | undefined>({ length: 256 }, () => undefined);
	const nested = new Map<number, Map<number, Command>>();
	for (const command of commands) {
		const { name, opcode, serviceAction } = command;
		const actions = nested.get(opcode);
		if (direct[opcode] !== undefined || (actions !== undefined && serviceAction === undefined))
			throw new Error(`${name}: operation code is taken`);
		if (serviceAction === undefined) direct[opcode] = command;
		else if (actions === undefined) nested.set(opcode, new Map([[serviceAction, command]]));
		else if (actions.has(serviceAction)) throw new Error(`${name}: service action is taken`);
		else actions.set(serviceAction, command);
	}
	return { byOpcode: direct, byServiceAction: nested };
}
