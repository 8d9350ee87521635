import type { Outcome } from '../blockvol/block-device.ts';
import type { IoCommand } from './io-command.ts';
import { endWithOutcome } from './outcome-status.ts';
import { status } from './status.ts';

/** NVM Command Set 1.0, Flush: of one namespace, or with NSID FFFFFFFFh of all (VWC, Flush Behavior 11b). */
export const flush: IoCommand = {
	name: 'Flush',
	opcode: 0x00,
	// In the presence of a reservation it belongs to the write commands; it changes nothing, and a namespace that is write protected takes it.
	access: 'none',
	changesContent: false,
	start({ queue, controller }, request, namespace) {
		if (!namespace.reservations.allows(controller.host.registrant, 'write')) return request.end(status.reservationConflict);
		request.onOutcome = queue.settle;
		namespace.device.flush(request);
		return 'pending';
	},
	startAll({ queue, controller }, request) {
		const namespaces = [...controller.subsystem.namespaces.values()];
		const { registrant } = controller.host;
		if (!namespaces.every(({ reservations }) => reservations.allows(registrant, 'write'))) return request.end(status.reservationConflict);
		if (namespaces.length === 0) return 'finished';
		let running = namespaces.length;
		request.onOutcome = (_request, outcome: Outcome) => {
			running--;
			// The first failure is what the host hears of; the others are waited for all the same.
			if (outcome !== 'good' && request.status === status.success) endWithOutcome(request, outcome, 'none');
			if (running === 0) queue.finish(request);
		};
		for (const { device } of namespaces) device.flush(request);
		return 'pending';
	},
};
