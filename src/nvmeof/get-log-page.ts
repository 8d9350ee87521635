import type { AdminCommand } from './admin-command.ts';
import type { Controller } from './controller.ts';
import { limits } from './limits.ts';
import type { LogPage } from './log-page.ts';
import type { NextStep, Request } from './request.ts';
import { CommonSQE, GetLogPageSQE, everyNamespace } from './sqe.ts';
import { status } from './status.ts';
import { cutOut } from './zero-padding.ts';

/** NVMe Base 2.0, Get Log Page, over the log pages of one kind of controller. */
export function defineGetLogPage<Of extends Controller>(find: (lid: number) => LogPage<Of> | undefined): AdminCommand<Of> {
	return {
		name: 'Get Log Page',
		opcode: 0x02,
		start: (controller, request, queue) => getLogPage(find, controller, request, queue.fabric.now()),
	};
}

function getLogPage<Of extends Controller>(
	find: (lid: number) => LogPage<Of> | undefined,
	controller: Of,
	request: Request,
	nowMs: number,
): NextStep {
	const { sqe } = request;
	const lid = GetLogPageSQE.lid.get(sqe, 0);
	const found = find(lid);
	if (found === undefined) return request.end(status.invalidLogPage);
	const nsid = CommonSQE.nsid.get(sqe, 0);
	if (found.ofNamespace !== true && nsid !== 0 && nsid !== everyNamespace) return request.end(status.invalidField);
	// NUMD is 0's based and counts dwords.
	const lengthBytes = (GetLogPageSQE.numdu.get(sqe, 0) * 2 ** 16 + GetLogPageSQE.numdl.get(sqe, 0) + 1) * 4;
	if (lengthBytes > limits.transferBytesMax) return request.end(status.invalidField);
	const offsetBytes = GetLogPageSQE.lpo.get(sqe, 0);
	if (offsetBytes % 4 !== 0 || GetLogPageSQE.ot.get(sqe, 0) === 1) return request.end(status.invalidField);
	const page = found.page(controller, { request, nowMs });
	if (typeof page === 'number') return request.end(page);
	if (offsetBytes > page.length) return request.end(status.invalidField);
	request.dataToHost = cutOut(page, offsetBytes, lengthBytes, limits.paddedLogBytes);
	if (GetLogPageSQE.rae.get(sqe, 0) === 0) {
		controller.events.clear(lid);
		found.read?.(controller);
	}
	return 'finished';
}
