import { findCommand } from './commands.ts';
import { absentInquiry } from './inquiry.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus, TargetPort } from './nexus.ts';
import { reportLuns } from './report-luns.ts';
import { absentRequestSense } from './request-sense.ts';
import { additionalSense, illegal, senseData } from './sense.ts';
import { status } from './task.ts';
import type { NextStep, ScsiTask } from './task.ts';

export interface ScsiTargetOptions {
	/** Words for a person, which the transport sends as TargetAlias. */
	alias?: string;
	/** 1 to 65535, default 1. Also the relative target port identifier: an iSCSI target has one port per portal group (RFC 7143 §4.4.2). */
	targetPortalGroupTag?: number;
}

/** A SCSI target device with one target port: logical units under their LUNs, and the nexuses that reach them. */
export class ScsiTarget implements TargetPort {
	/** iSCSI name. */
	readonly name: string;
	readonly alias: string | undefined;
	readonly targetPortalGroupTag: number;
	readonly #units = new Map<number, LogicalUnit>();
	readonly #nexuses = new Set<Nexus>();

	constructor(name: string, options: ScsiTargetOptions = {}) {
		this.name = name;
		this.alias = options.alias;
		this.targetPortalGroupTag = options.targetPortalGroupTag ?? 1;
	}

	get units(): ReadonlyMap<number, LogicalUnit> {
		return this.#units;
	}

	/** Puts a logical unit under a LUN of 0 to 255 that is free. A unit has one LUN in a target. */
	map(lun: number, unit: LogicalUnit): void {
		if (!Number.isInteger(lun) || lun < 0 || lun >= limits.lunsPerTarget)
			throw new RangeError(`LUN ${lun} is not in 0 to ${limits.lunsPerTarget - 1}`);
		if (this.#units.has(lun)) throw new RangeError(`LUN ${lun} is taken`);
		for (const mapped of this.#units.values()) if (mapped === unit) throw new RangeError('a logical unit has one LUN in a target');
		this.#units.set(lun, unit);
		unit.addPort(this);
		for (const nexus of this.#nexuses) unit.attach(nexus);
		this.#inventoryChanged();
	}

	/** Takes a LUN away; no error if nothing is there. The unit stays open. */
	unmap(lun: number): void {
		const unit = this.#units.get(lun);
		if (unit === undefined) return;
		this.#units.delete(lun);
		unit.removePort(this);
		for (const nexus of this.#nexuses) unit.detach(nexus);
		this.#inventoryChanged();
	}

	/** An I_T nexus exists from now on, on all units and on those mapped later. False, and no trace of it, when limits.nexuses is reached. */
	attach(nexus: Nexus): boolean {
		if (this.#nexuses.size >= limits.nexuses) return this.#nexuses.has(nexus);
		for (const unit of this.#units.values()) {
			if (unit.attach(nexus)) continue;
			for (const attached of this.#units.values()) attached.detach(nexus);
			return false;
		}
		this.#nexuses.add(nexus);
		nexus.port = this;
		return true;
	}

	detach(nexus: Nexus): void {
		if (!this.#nexuses.delete(nexus)) return;
		for (const unit of this.#units.values()) unit.detach(nexus);
		nexus.port = undefined;
	}

	/** TARGET WARM RESET and TARGET COLD RESET: every nexus is told on every unit. */
	reset(): void {
		for (const unit of this.#units.values()) unit.reset('target');
	}

	/** The unit that the 8 LUN bytes of a PDU name: peripheral device addressing on bus 0, or flat space addressing, single level (SAM-5). */
	unit(lun: Uint8Array): LogicalUnit | undefined {
		const high = lun[0]!;
		if (high !== 0 && high >> 6 !== 1) return undefined;
		if ((lun[2]! | lun[3]! | lun[4]! | lun[5]! | lun[6]! | lun[7]!) !== 0) return undefined;
		return this.#units.get(((high & 0x3f) << 8) | lun[1]!);
	}

	/** Routes a command. The next calls for the task, parameters() and fail(), go to the unit; they never come when there is none. */
	start(task: ScsiTask, lun: Uint8Array, nexus: Nexus): NextStep {
		const unit = this.unit(lun);
		return unit === undefined ? this.#startAbsent(task, nexus) : unit.start(task, nexus);
	}

	luns(): readonly number[] {
		return [...this.#units.keys()].toSorted((a, b) => a - b);
	}

	reachableUnits(): Iterable<LogicalUnit> {
		return this.#units.values();
	}

	lunsReported(nexus: Nexus): void {
		for (const unit of this.#units.values()) unit.withdraw(additionalSense.reportedLunsDataHasChanged, nexus);
	}

	/** SAM-5, incorrect logical unit numbers: three commands are answered, the rest is refused. */
	#startAbsent(task: ScsiTask, nexus: Nexus): NextStep {
		const found = findCommand(task.cdb);
		if (found !== undefined && found.naca.get(task.cdb) === 0) {
			if (found.name === 'INQUIRY') return absentInquiry(task);
			if (found.name === 'REQUEST SENSE') return absentRequestSense(task);
			if (found.name === 'REPORT LUNS') return reportLuns(this, task, nexus);
		}
		task.status = status.checkCondition;
		task.sense = senseData(illegal(additionalSense.logicalUnitNotSupported), 'fixed');
		return 'finished';
	}

	#inventoryChanged(): void {
		for (const unit of this.#units.values()) {
			for (const nexus of this.#nexuses) unit.raise(additionalSense.reportedLunsDataHasChanged, nexus);
		}
	}
}
