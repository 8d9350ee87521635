import { ok as assert } from 'node:assert';
import type { BlockDevice, Outcome } from '../blockvol/block-device.ts';
import { ReservationTable } from '../reservation/reservation-table.ts';
import { serviceAction } from './command.ts';
import { Copies } from './copies.ts';
import { findCommand, hasServiceActions } from './commands.ts';
import { Identity } from './identity.ts';
import { sanitizeSense } from './sanitize-sense.ts';
import type { Field } from './field.ts';
import type { Nexus, TargetPort } from './nexus.ts';
import { limits } from './limits.ts';
import { provisioningPage } from './mode-pages.ts';
import { ModeValues } from './mode-values.ts';
import { outcomeSense } from './outcome-sense.ts';
import { conflicts } from './reservation-group.ts';
import { ReservationWatch } from './reservation-watch.ts';
import { additionalSense, illegal, invalidFieldInCdb, senseData, senseKey } from './sense.ts';
import type { Sense, SenseFormat } from './sense.ts';
import { status } from './task.ts';
import type { NextStep, ScsiTask } from './task.ts';
import { SpaceThreshold } from './thin-space.ts';
import type { Space } from './thin-space.ts';
import { UnitAttentions } from './unit-attention.ts';

export interface LogicalUnitOptions {
	/** Refuses every command that changes the medium with WRITE PROTECTED. */
	readOnly?: boolean;
	/** Four characters of INQUIRY. */
	productRevision?: string;
	/** What a thin volume takes; without it there are no thresholds. */
	space?: (() => Space | undefined) | undefined;
	/** That of the volume, shared with its other exports. Without it the unit has one of its own, which nothing persists. */
	reservations?: ReservationTable | undefined;
}

/**
 * A volume as a SCSI direct access block device (SPC-4, SBC-3). No I/O of its own: start() decides, and the transport moves the data of reads and writes.
 * start() and parameters() run to their end before anything else does; a `pending` task goes on in completions of the device.
 */
export class LogicalUnit {
	readonly device: BlockDevice;
	readonly identity: Identity;
	readonly mode = new ModeValues();
	readonly copies = new Copies();
	/** Whether somebody knows what is left; undefined from space() is that it is not known yet. */
	readonly hasThresholds: boolean;
	readonly space: () => Space | undefined;
	readonly reservations: ReservationTable;
	readonly #attentions = new UnitAttentions();
	readonly #readOnly: boolean;
	/** Errors of commands that were answered before they ended, the latest of each nexus. */
	readonly #deferred = new Map<Nexus, Sense>();
	readonly #threshold = new SpaceThreshold();
	#writesUntilCheck: number = limits.writesPerSpaceCheck;
	#ports: readonly TargetPort[] = [];
	readonly #endResize: () => void;
	readonly #endReservations: () => void;

	constructor(device: BlockDevice, options: LogicalUnitOptions = {}) {
		this.device = device;
		this.identity = new Identity(device.uuid, options.productRevision ?? '1');
		this.hasThresholds = options.space !== undefined;
		this.space = options.space ?? (() => undefined);
		this.#readOnly = options.readOnly ?? false;
		this.reservations = options.reservations ?? new ReservationTable();
		this.#endReservations = this.reservations.listen(new ReservationWatch(this, () => this.nexuses));
		this.#endResize = device.onResize(() => this.#attentions.raiseForAll(additionalSense.capacityDataHasChanged));
	}

	/** Takes no command that changes the medium: it was made so, or SWP of the Control mode page. */
	get readOnly(): boolean {
		return this.#readOnly || this.mode.isWriteProtected;
	}

	/** D_SENSE of the Control mode page. */
	get senseFormat(): SenseFormat {
		return this.mode.isDescriptorSense ? 'descriptor' : 'fixed';
	}

	/** The target ports that lead to it. */
	get ports(): readonly TargetPort[] {
		return this.#ports;
	}

	/** Those that are attached. */
	get nexuses(): Iterable<Nexus> {
		return this.#attentions.nexuses;
	}

	/** Capacity in logical blocks. */
	get blocks(): number {
		return this.device.sizeBytes / this.device.blockSize;
	}

	/**
	 * Looks at a new command; task.cdb and task.owner are set, everything else as after reset(). A `pending` task ends by taskFinished() of its owner.
	 */
	start(task: ScsiTask, nexus: Nexus): NextStep {
		const known = findCommand(task.cdb);
		const found = known?.isOffered(this) === true ? known : undefined;
		const { reservations } = this;
		const isConflict = reservations.restricts && found !== undefined && conflicts(reservations, found, task.cdb, nexus.registrant);
		if (this.#attentions.any && found?.attention !== 'exempt') {
			const code = isConflict ? this.#attentions.takeReset(nexus) : this.#attentions.take(nexus);
			if (code !== undefined) return this.check(task, { key: senseKey.unitAttention, code });
		}
		if (this.#deferred.size > 0 && !isConflict && found?.attention !== 'exempt') {
			const sense = this.takeDeferred(nexus);
			if (sense !== undefined) return this.check(task, sense);
		}
		if (found === undefined) {
			if (hasServiceActions(task.cdb, this)) return this.invalidField(task, serviceAction);
			return this.check(task, illegal(additionalSense.invalidCommandOperationCode));
		}
		if (isConflict) return this.conflict(task);
		const sanitize = this.device.sanitizer?.state;
		if (sanitize !== undefined && !found.duringSanitize) return this.check(task, sanitizeSense(sanitize));
		// NORMACA is 0, so NACA is not taken (SAM-5, CONTROL byte).
		if (found.naca.get(task.cdb) !== 0) return this.invalidField(task, found.naca);
		if (found.access === 'write') {
			if (this.readOnly) return this.check(task, { key: senseKey.dataProtect, code: additionalSense.writeProtected });
			if (--this.#writesUntilCheck === 0) this.checkSpace();
		}
		return found.start(this, task, nexus);
	}

	/** The data-out of a task whose step was `parameters`; shorter than lengthBytes when the initiator sent less. The buffer is the unit's until the task is finished. */
	parameters(task: ScsiTask, data: Buffer): NextStep {
		const found = findCommand(task.cdb);
		assert(found?.parameters !== undefined);
		return found.parameters(this, task, data);
	}

	/**
	 * Sets status and sense for an outcome other than good. `offsetBytes` is the first byte on the medium that failed, for a caller that knows it to the
	 * block: it becomes the INFORMATION field of a medium error.
	 */
	fail(task: ScsiTask, outcome: Outcome, offsetBytes?: number): void {
		assert(outcome !== 'good');
		const found = findCommand(task.cdb);
		const lba = offsetBytes === undefined ? undefined : Math.floor(offsetBytes / this.device.blockSize);
		const sense = outcomeSense(outcome, found?.access ?? 'none', lba);
		if (sense !== undefined) {
			this.check(task, sense);
			return;
		}
		task.status = status.busy;
		task.sense = undefined;
		task.dataIn = undefined;
	}

	/** An I_T nexus exists from now on: it will be told POWER ON, RESET, OR BUS DEVICE RESET OCCURRED. False when limits.nexuses is reached. */
	attach(nexus: Nexus): boolean {
		if (!this.#attentions.attach(nexus)) return false;
		this.#attentions.raise(additionalSense.powerOnResetOrBusDeviceResetOccurred, nexus);
		this.checkSpace();
		if (this.#threshold.isReached) this.#attentions.raise(additionalSense.thinProvisioningSoftThresholdReached, nexus);
		return true;
	}

	/** The I_T nexus is lost; what it had not been told goes with it, and what it reserved by RESERVE of SPC-2. Registrations stay. */
	detach(nexus: Nexus): void {
		this.reservations.endUnitReservation(nexus.registrant);
		this.copies.forget(nexus);
		this.#deferred.delete(nexus);
		this.#attentions.detach(nexus);
	}

	/**
	 * After LOGICAL UNIT RESET (29h/03h) or a reset of the target (29h/00h): every nexus is told, the one that asked too (SAM-5, logical unit reset). The transport has
	 * ended the tasks. RESERVE of SPC-2 ends, persistent reservations stay; mode pages are as at first.
	 */
	reset(cause: 'logicalUnit' | 'target' = 'logicalUnit'): void {
		this.reservations.endUnitReservation();
		this.copies.forget();
		this.#deferred.clear();
		this.mode.reset();
		this.#attentions.raiseForAll(
			cause === 'target' ? additionalSense.powerOnResetOrBusDeviceResetOccurred : additionalSense.busDeviceResetFunctionOccurred,
		);
	}

	/** Queues a unit attention, one of additionalSense, for every nexus but one. */
	raiseForOthers(code: number, except: Nexus | undefined): void {
		this.#attentions.raiseForAll(code, except);
	}

	/** Queues a unit attention, one of additionalSense, for a nexus. */
	raise(code: number, nexus: Nexus): void {
		this.#attentions.raise(code, nexus);
	}

	/** Takes a unit attention back that a nexus need no longer be told. */
	withdraw(code: number, nexus: Nexus): void {
		this.#attentions.withdraw(code, nexus);
	}

	/** What became of a command of the nexus that was answered already: its next command is not carried out but told (SPC-4, deferred errors). */
	defer(outcome: Exclude<Outcome, 'good'>, nexus: Nexus): void {
		const sense = outcomeSense(outcome, 'none');
		if (sense !== undefined && this.#attentions.has(nexus)) this.#deferred.set(nexus, { ...sense, isDeferred: true });
	}

	/** REQUEST SENSE, too: what was deferred for a nexus, which it has had herewith. */
	takeDeferred(nexus: Nexus): Sense | undefined {
		const sense = this.#deferred.get(nexus);
		if (sense !== undefined) this.#deferred.delete(nexus);
		return sense;
	}

	/** REQUEST SENSE: the oldest unit attention of a nexus, which it has had herewith. */
	takeAttention(nexus: Nexus): number | undefined {
		return this.#attentions.take(nexus);
	}

	/** Tells every nexus when the space that is left has come down to the threshold. */
	checkSpace(): void {
		this.#writesUntilCheck = limits.writesPerSpaceCheck;
		const space = this.space();
		if (space !== undefined && this.#threshold.reaches(space, this.device.sizeBytes, this.mode.current(provisioningPage)))
			this.#attentions.raiseForAll(additionalSense.thinProvisioningSoftThresholdReached);
	}

	/** Ends a task with CHECK CONDITION. */
	check(task: ScsiTask, sense: Sense): 'finished' {
		task.status = status.checkCondition;
		task.sense = senseData(sense, this.senseFormat);
		task.dataIn = undefined;
		return 'finished';
	}

	/** Ends a task with RESERVATION CONFLICT. */
	conflict(task: ScsiTask): 'finished' {
		task.status = status.reservationConflict;
		task.sense = undefined;
		task.dataIn = undefined;
		return 'finished';
	}

	/** Ends a task with INVALID FIELD IN CDB. */
	invalidField(task: ScsiTask, field: Field): 'finished' {
		return this.check(task, invalidFieldInCdb(field));
	}

	/** A target maps it. */
	addPort(port: TargetPort): void {
		this.#ports = [...this.#ports, port];
	}

	removePort(port: TargetPort): void {
		this.#ports = this.#ports.filter((one) => one !== port);
	}

	close(): void {
		this.#endResize();
		this.#endReservations();
	}
}
