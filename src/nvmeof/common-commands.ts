import type { AdminCommand } from './admin-command.ts';

/** NVMe Base 2.0, Asynchronous Event Request. */
export const asynchronousEventRequest: AdminCommand = {
	name: 'Asynchronous Event Request',
	opcode: 0x0c,
	start: (controller, request) => controller.events.request(request),
};

/** NVMe Base 2.0, Keep Alive. Every command restarts the timer, so nothing is left to do. */
export const keepAlive: AdminCommand = { name: 'Keep Alive', opcode: 0x18, start: () => 'finished' };
