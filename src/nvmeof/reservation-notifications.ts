import type { ReservationNotice } from '../reservation/reservation-table.ts';
import { layout, reserved, u32le, u8 } from '../wire/layout.ts';
import { limits } from './limits.ts';
import { number64le } from './number-field.ts';

/** NVMe Base 2.0, Reservation Notification Log (80h). */
export const ReservationNotificationLog = layout('Reservation Notification Log', 64, {
	logPageCount: number64le(0),
	reservationNotificationLogPageType: u8(8),
	numberOfAvailableLogPages: u8(9),
	reserved10: reserved(10, 2),
	nsid: u32le(12),
	reserved16: reserved(16, 48),
});

/** Log page type, which is also the bit of the notification mask (feature 82h). */
const types: Readonly<Record<ReservationNotice, number>> = { registrationPreempted: 1, reservationReleased: 2, reservationPreempted: 3 };

/** REGPRE, RESREL and RESPRE. */
export const reservationMaskBits = 0b1110;

interface Notification {
	readonly count: number;
	readonly nsid: number;
	readonly type: number;
}

/** What other hosts did to this controller's reservations, one log page each, oldest first; and what the host does not want to hear of. */
export class ReservationNotifications {
	readonly #raise: () => void;
	readonly #masks = new Map<number, number>();
	#waiting: Notification[] = [];
	#count = 0;

	constructor(raise: () => void) {
		this.#raise = raise;
	}

	/** Feature 82h of a namespace. */
	mask(nsid: number): number {
		return this.#masks.get(nsid) ?? 0;
	}

	setMask(nsid: number, mask: number): void {
		this.#masks.set(nsid, mask);
	}

	notice(nsid: number, notice: ReservationNotice): void {
		const type = types[notice];
		if (((this.mask(nsid) >>> type) & 1) === 1) return;
		this.#count++;
		// LPC leaves out 0 when it wraps; a number never gets that far.
		this.#waiting.push({ count: this.#count, nsid, type });
		if (this.#waiting.length > limits.reservationNotifications) this.#waiting.shift();
		this.#raise();
	}

	/** The oldest page that was not read; an empty one if there is none. */
	page(): Buffer {
		const page = Buffer.alloc(ReservationNotificationLog.sizeBytes);
		const oldest = this.#waiting[0];
		if (oldest === undefined) return page;
		ReservationNotificationLog.logPageCount.set(page, 0, oldest.count);
		ReservationNotificationLog.reservationNotificationLogPageType.set(page, 0, oldest.type);
		ReservationNotificationLog.numberOfAvailableLogPages.set(page, 0, Math.min(255, this.#waiting.length - 1));
		ReservationNotificationLog.nsid.set(page, 0, oldest.nsid);
		return page;
	}

	/** The oldest page was read. Those behind it are a reason for another event. */
	take(): void {
		this.#waiting.shift();
		if (this.#waiting.length > 0) this.#raise();
	}

	forgetNamespace(nsid: number): void {
		this.#masks.delete(nsid);
		this.#waiting = this.#waiting.filter((one) => one.nsid !== nsid);
	}

	reset(): void {
		this.#masks.clear();
		this.#waiting = [];
	}
}
