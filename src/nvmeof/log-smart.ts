import { layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import type { NamespaceStatistics } from './namespace-statistics.ts';
import type { Namespace } from './namespace.ts';
import { number128le } from './number-field.ts';
import type { NvmController } from './nvm-controller.ts';

/** NVMe Base 2.0, SMART / Health Information Log Page (02h). */
export const SmartLog = layout('SMART / Health Information', 512, {
	criticalWarning: u8(0),
	compositeTemperature: u16le(1),
	availableSpare: u8(3),
	availableSpareThreshold: u8(4),
	percentageUsed: u8(5),
	enduranceGroupCriticalWarningSummary: u8(6),
	reserved7: reserved(7, 25),
	dataUnitsRead: number128le(32),
	dataUnitsWritten: number128le(48),
	hostReadCommands: number128le(64),
	hostWriteCommands: number128le(80),
	controllerBusyTime: number128le(96),
	powerCycles: number128le(112),
	powerOnHours: number128le(128),
	unsafeShutdowns: number128le(144),
	mediaAndDataIntegrityErrors: number128le(160),
	numberOfErrorInformationLogEntries: number128le(176),
	warningCompositeTemperatureTime: u32le(192),
	criticalCompositeTemperatureTime: u32le(196),
	temperatureSensors: reserved(200, 16),
	thermalManagement: reserved(216, 16),
	reserved232: reserved(232, 280),
});

/** A data unit is a thousand times 512 bytes, rounded up. */
const dataUnitBytes = 512_000;
/** Critical Warning: reliability is degraded; the medium is read only. */
const degraded = 0b0100;
const mediumIsReadOnly = 0b1000;
const hourMs = 3_600_000;

/**
 * Of one namespace, or of the whole subsystem. A volume has neither temperature nor wear nor power of its own: temperature 0 K says that there is none, spare 100 % that nothing is used up, and
 * the power is on since the controller began.
 */
export function smartLog(controller: NvmController, namespace: Namespace | undefined, nowMs: number): Buffer {
	const page = Buffer.alloc(SmartLog.sizeBytes);
	const { subsystem } = controller;
	const watched = namespace === undefined ? [...subsystem.namespaces.values()] : [namespace];
	const statistics: NamespaceStatistics = (namespace ?? subsystem).statistics;
	const isFaulted = watched.some(({ device }) => device.fault !== undefined);
	const isAllFaulted = isFaulted && watched.every(({ device }) => device.fault !== undefined);
	SmartLog.criticalWarning.set(page, 0, (isFaulted ? degraded : 0) | (isAllFaulted ? mediumIsReadOnly : 0));
	SmartLog.availableSpare.set(page, 0, 100);
	SmartLog.dataUnitsRead.set(page, 0, Math.ceil(statistics.readBytes / dataUnitBytes));
	SmartLog.dataUnitsWritten.set(page, 0, Math.ceil(statistics.writtenBytes / dataUnitBytes));
	SmartLog.hostReadCommands.set(page, 0, statistics.readCommands);
	SmartLog.hostWriteCommands.set(page, 0, statistics.writeCommands);
	SmartLog.powerOnHours.set(page, 0, Math.floor((nowMs - controller.startedMs) / hourMs));
	SmartLog.mediaAndDataIntegrityErrors.set(page, 0, statistics.mediaErrors);
	SmartLog.numberOfErrorInformationLogEntries.set(page, 0, controller.errors.count);
	return page;
}
