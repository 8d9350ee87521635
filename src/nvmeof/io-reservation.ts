import { createHash } from 'node:crypto';
import type { Registrant } from '../reservation/registrant.ts';
import type { ReservationOutcome, ReservationReport } from '../reservation/reservation-table.ts';
import { nvmeReservationType, reservationTypes } from '../reservation/reservation-type.ts';
import { bytes, layout, reserved, u16le, u32le, u64le, u8 } from '../wire/layout.ts';
import type { IoCommand } from './io-command.ts';
import type { Request } from './request.ts';
import { ReservationActionSQE, ReservationRegisterSQE, ReservationReportSQE } from './sqe.ts';
import { status } from './status.ts';
import type { Subsystem } from './subsystem.ts';

/** NVMe Base 2.0, Reservation Register and Acquire data: CRKEY, and NRKEY or PRKEY. Reservation Release has CRKEY only. */
export const ReservationKeys = layout('Reservation Register and Acquire Data', 16, { crkey: u64le(0), otherKey: u64le(8) });
const releaseDataBytes = 8;

/** NVMe Base 2.0, Reservation Status Extended Data Structure. */
export const ReservationStatus = layout('Reservation Status Extended', 64, {
	gen: u32le(0),
	rtype: u8(4),
	regctl: u16le(5),
	reserved7: reserved(7, 2),
	ptpls: u8(9),
	reserved10: reserved(10, 54),
});

export const RegisteredController = layout('Registered Controller Extended', 64, {
	cntlid: u16le(0),
	rcsts: u8(2),
	reserved3: reserved(3, 5),
	rkey: u64le(8),
	hostid: bytes(16, 16),
	reserved32: reserved(32, 32),
});

/** A registrant that has no controller at the moment, or never has one. */
const noController = 0xffff;

const rrega = { register: 0, unregister: 1, replace: 2 } as const;
const racqa = { acquire: 0, preempt: 1, preemptAndAbort: 2 } as const;
const rrela = { release: 0, clear: 1 } as const;
/** CPTPL: leave it, clear it, set it; 01b is reserved. */
const persistence: readonly (boolean | undefined | 'reserved')[] = [undefined, 'reserved', false, true];

function endWith(request: Request, outcome: ReservationOutcome): 'finished' {
	return request.end(outcomeStatus[outcome]);
}

const outcomeStatus: Readonly<Record<ReservationOutcome, number>> = {
	good: status.success,
	conflict: status.reservationConflict,
	invalidKey: status.invalidField,
	wrongType: status.invalidField,
	notReserved: status.invalidField,
	full: status.internalError,
	notStored: status.internalError,
};

/** NVMe Base 2.0, Reservation Register. */
export const reservationRegister: IoCommand = {
	name: 'Reservation Register',
	opcode: 0x0d,
	oncs: 5,
	access: 'none',
	changesContent: false,
	start(_context, request) {
		const { sqe } = request;
		if (ReservationRegisterSQE.rrega.get(sqe, 0) > rrega.replace) return request.end(status.invalidField);
		if (persistence[ReservationRegisterSQE.cptpl.get(sqe, 0)] === 'reserved') return request.end(status.invalidField);
		request.lengthBytes = ReservationKeys.sizeBytes;
		return 'parameters';
	},
	parameters({ controller }, request, { reservations }, data) {
		const { sqe } = request;
		const { registrant } = controller.host;
		const current = ReservationRegisterSQE.iekey.get(sqe, 0) === 1 ? ('ignored' as const) : ReservationKeys.crkey.get(data, 0);
		const key = ReservationKeys.otherKey.get(data, 0);
		const persist = persistence[ReservationRegisterSQE.cptpl.get(sqe, 0)] as boolean | undefined;
		switch (ReservationRegisterSQE.rrega.get(sqe, 0)) {
			case rrega.register:
				return endWith(request, reservations.register(registrant, key, persist));
			case rrega.unregister:
				return endWith(request, reservations.unregister(registrant, current, persist));
			default:
				return endWith(request, reservations.replace(registrant, current, key, persist));
		}
	},
};

/** NVMe Base 2.0, Reservation Acquire. IEKEY is refused there. */
export const reservationAcquire: IoCommand = {
	name: 'Reservation Acquire',
	opcode: 0x11,
	oncs: 5,
	access: 'none',
	changesContent: false,
	start(_context, request) {
		const { sqe } = request;
		if (ReservationActionSQE.action.get(sqe, 0) > racqa.preemptAndAbort || ReservationActionSQE.iekey.get(sqe, 0) === 1)
			return request.end(status.invalidField);
		if (nvmeReservationType(ReservationActionSQE.rtype.get(sqe, 0)) === undefined) return request.end(status.invalidField);
		request.lengthBytes = ReservationKeys.sizeBytes;
		return 'parameters';
	},
	parameters({ queue, controller }, request, { reservations }, data) {
		const { sqe } = request;
		const { registrant } = controller.host;
		const type = nvmeReservationType(ReservationActionSQE.rtype.get(sqe, 0))!;
		const current = ReservationKeys.crkey.get(data, 0);
		const preempted = ReservationKeys.otherKey.get(data, 0);
		switch (ReservationActionSQE.action.get(sqe, 0)) {
			case racqa.acquire:
				return endWith(request, reservations.acquire(registrant, current, type));
			case racqa.preempt:
				return endWith(request, reservations.preempt(registrant, current, preempted, type));
			default: {
				// The commands of those who lost their registrations may be over at once.
				let returned = false;
				let finished = false;
				reservations.preemptAndAbort(registrant, current, preempted, type, (outcome) => {
					finished = true;
					endWith(request, outcome);
					if (returned) queue.finish(request);
				});
				returned = true;
				return finished ? 'finished' : 'pending';
			}
		}
	},
};

/** NVMe Base 2.0, Reservation Release. */
export const reservationRelease: IoCommand = {
	name: 'Reservation Release',
	opcode: 0x15,
	oncs: 5,
	access: 'none',
	changesContent: false,
	start(_context, request) {
		const { sqe } = request;
		const action = ReservationActionSQE.action.get(sqe, 0);
		if (action > rrela.clear || ReservationActionSQE.iekey.get(sqe, 0) === 1) return request.end(status.invalidField);
		// RTYPE is looked at by a release only.
		if (action === rrela.release && nvmeReservationType(ReservationActionSQE.rtype.get(sqe, 0)) === undefined)
			return request.end(status.invalidField);
		request.lengthBytes = releaseDataBytes;
		return 'parameters';
	},
	parameters({ controller }, request, { reservations }, data) {
		const { sqe } = request;
		const { registrant } = controller.host;
		const current = ReservationKeys.crkey.get(data, 0);
		if (ReservationActionSQE.action.get(sqe, 0) === rrela.clear) return endWith(request, reservations.clear(registrant, current));
		const type = nvmeReservationType(ReservationActionSQE.rtype.get(sqe, 0))!;
		return endWith(request, reservations.release(registrant, current, type));
	},
};

/** NVMe Base 2.0, Reservation Report. Host identifiers have 128 bits, so only the extended structures can show them. */
export const reservationReport: IoCommand = {
	name: 'Reservation Report',
	opcode: 0x0e,
	oncs: 5,
	access: 'none',
	changesContent: false,
	start({ controller }, request, { reservations }) {
		const { sqe } = request;
		if (ReservationReportSQE.eds.get(sqe, 0) === 0) return request.end(status.hostIdentifierInconsistentFormat);
		// 0's based, in dwords.
		const lengthBytes = (ReservationReportSQE.numd.get(sqe, 0) + 1) * 4;
		request.dataToHost = statusData(reservations.report(), controller.subsystem).subarray(0, lengthBytes);
		return 'finished';
	},
};

function statusData(report: ReservationReport, subsystem: Subsystem): Buffer {
	const entries = report.registrations.flatMap((one) => controllersOf(subsystem, one.registrant).map((cntlid) => ({ ...one, cntlid })));
	const data = Buffer.alloc(ReservationStatus.sizeBytes + entries.length * RegisteredController.sizeBytes);
	ReservationStatus.gen.set(data, 0, report.generation);
	ReservationStatus.rtype.set(data, 0, report.type === undefined ? 0 : reservationTypes[report.type].nvme);
	ReservationStatus.regctl.set(data, 0, entries.length);
	ReservationStatus.ptpls.set(data, 0, report.persistThroughPowerLoss ? 1 : 0);
	for (const [index, { cntlid, holder, key, registrant }] of entries.entries()) {
		const at = ReservationStatus.sizeBytes + index * RegisteredController.sizeBytes;
		RegisteredController.cntlid.set(data, at, cntlid);
		RegisteredController.rcsts.set(data, at, holder ? 1 : 0);
		RegisteredController.rkey.set(data, at, key);
		RegisteredController.hostid.set(data, at, hostIdentifier(registrant));
	}
	return data;
}

/** One entry for each controller of the host; one without a controller if it has none. */
function controllersOf(subsystem: Subsystem, registrant: Registrant): number[] {
	const ids = [...subsystem.controllers.values()].filter(({ host }) => host.registrant.name === registrant.name).map(({ id }) => id);
	return ids.length === 0 ? [noController] : ids;
}

/** An iSCSI initiator has no HOSTID. It is shown by 16 bytes of a hash, so that a host sees that somebody is registered, and that two are not one. */
function hostIdentifier({ protocol, id, name }: Registrant): Buffer {
	return protocol === 'nvme' ? Buffer.from(id, 'hex') : createHash('sha256').update(name).digest().subarray(0, 16);
}
