/** The six types that both standards have (SPC-4, persistent reservation types; NVMe Base 2.0, Reservation Type). */
export type ReservationType =
	| 'writeExclusive'
	| 'exclusiveAccess'
	| 'writeExclusiveRegistrantsOnly'
	| 'exclusiveAccessRegistrantsOnly'
	| 'writeExclusiveAllRegistrants'
	| 'exclusiveAccessAllRegistrants';

type Circle = 'everyone' | 'registrants' | 'holder';

interface Rules {
	/** TYPE of SCSI, RTYPE of NVMe. */
	readonly scsi: number;
	readonly nvme: number;
	/** Whose reads, and whose writes, are let through. */
	readonly read: Circle;
	readonly write: Circle;
	/** Every registrant is a holder, and the reservation lives as long as the last of them. */
	readonly allRegistrants: boolean;
	/** Its end is told to the registrants that remain; of the other two types only the holder's own commands were allowed, and nobody is told. */
	readonly releaseIsTold: boolean;
}

export const reservationTypes: Readonly<Record<ReservationType, Rules>> = {
	writeExclusive: { scsi: 1, nvme: 1, read: 'everyone', write: 'holder', allRegistrants: false, releaseIsTold: false },
	exclusiveAccess: { scsi: 3, nvme: 2, read: 'holder', write: 'holder', allRegistrants: false, releaseIsTold: false },
	writeExclusiveRegistrantsOnly: {
		scsi: 5,
		nvme: 3,
		read: 'everyone',
		write: 'registrants',
		allRegistrants: false,
		releaseIsTold: true,
	},
	exclusiveAccessRegistrantsOnly: {
		scsi: 6,
		nvme: 4,
		read: 'registrants',
		write: 'registrants',
		allRegistrants: false,
		releaseIsTold: true,
	},
	writeExclusiveAllRegistrants: { scsi: 7, nvme: 5, read: 'everyone', write: 'registrants', allRegistrants: true, releaseIsTold: true },
	exclusiveAccessAllRegistrants: { scsi: 8, nvme: 6, read: 'registrants', write: 'registrants', allRegistrants: true, releaseIsTold: true },
};

const names = Object.keys(reservationTypes) as ReservationType[];
const byScsiCode = new Map(names.map((name) => [reservationTypes[name].scsi, name]));
const byNvmeCode = new Map(names.map((name) => [reservationTypes[name].nvme, name]));

/** Undefined for a code that SPC-4 reserves. */
export function scsiReservationType(code: number): ReservationType | undefined {
	return byScsiCode.get(code);
}

/** Undefined for a code that NVMe Base 2.0 reserves. */
export function nvmeReservationType(code: number): ReservationType | undefined {
	return byNvmeCode.get(code);
}

export function isReservationType(name: string): name is ReservationType {
	return Object.hasOwn(reservationTypes, name);
}
