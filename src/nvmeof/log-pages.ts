import { anaLog } from './log-ana.ts';
import { featureEffects } from './feature-rows.ts';
import { commandEffects } from './log-effects.ts';
import { smartLog } from './log-smart.ts';
import { paddedText } from './identity.ts';
import { limits } from './limits.ts';
import type { LogPage, LogQuestion } from './log-page.ts';
import type { NvmController } from './nvm-controller.ts';
import { CommonSQE, GetLogPageSQE, everyNamespace } from './sqe.ts';
import { status } from './status.ts';

/** NVMe Base 2.0, Firmware Slot Information: one slot, which is active. */
const firmwareLogBytes = 512;
const firstRevisionOffset = 8;

export const logPages: readonly LogPage<NvmController>[] = [
	{ name: 'Supported Log Pages', lid: 0x00, page: () => supportedLogPages() },
	{ name: 'Error Information', lid: 0x01, page: (controller) => controller.errors.page() },
	{ name: 'SMART / Health Information', lid: 0x02, ofNamespace: true, page: healthInformation },
	{ name: 'Firmware Slot Information', lid: 0x03, page: firmwareSlots },
	{
		name: 'Changed Namespace List',
		lid: 0x04,
		page: (controller) => controller.changedNamespaces.page(),
		read: (controller) => controller.changedNamespaces.clear(),
	},
	{
		name: 'Commands Supported and Effects',
		lid: 0x05,
		// CSI NVM is the only one.
		page: (controller, { request }) =>
			GetLogPageSQE.csi.get(request.sqe, 0) === 0 ? commandEffects(controller.adminCommands) : status.invalidField,
	},
	{
		name: 'Asymmetric Namespace Access',
		lid: 0x0c,
		// RGO is bit 0 of LSP.
		page: (controller, { request }) => anaLog(controller.subsystem, (GetLogPageSQE.lsp.get(request.sqe, 0) & 1) === 1),
	},
	{ name: 'Feature Identifiers Supported and Effects', lid: 0x12, page: () => featureEffects() },
	// Nothing is supported by NVMe-MI Send and Receive, which there are not.
	{ name: 'NVMe-MI Commands Supported and Effects', lid: 0x13, page: () => Buffer.alloc(4096) },
	{
		name: 'Reservation Notification',
		lid: 0x80,
		page: (controller) => controller.reservations.page(),
		read: (controller) => controller.reservations.take(),
	},
];

const byLid: ReadonlyMap<number, LogPage<NvmController>> = new Map(logPages.map((page) => [page.lid, page]));

export function findLogPage(lid: number): LogPage<NvmController> | undefined {
	return byLid.get(lid);
}

/** LPA: SMART of a namespace, effects log, offsets and lengths of 32 bits, the pages 00h, 12h and 13h. */
export const logPageAttributes =
	1 | (byLid.has(0x05) ? 1 << 1 : 0) | (1 << 2) | ([0x00, 0x12, 0x13].every((lid) => byLid.has(lid)) ? 1 << 5 : 0);

/** NVMe Base 2.0, LID Supported and Effects Data Structure: LSUPP. */
function supportedLogPages(): Buffer {
	const page = Buffer.alloc(1024);
	for (const { lid } of logPages) page.writeUInt32LE(1, 4 * lid);
	return page;
}

function healthInformation(controller: NvmController, { request, nowMs }: LogQuestion): Buffer | number {
	const nsid = CommonSQE.nsid.get(request.sqe, 0);
	if (nsid === 0 || nsid === everyNamespace) return smartLog(controller, undefined, nowMs);
	const namespace = controller.subsystem.namespaces.get(nsid);
	if (namespace !== undefined) return smartLog(controller, namespace, nowMs);
	return nsid > limits.namespacesPerSubsystem ? status.invalidNamespaceOrFormat : status.invalidField;
}

function firmwareSlots(controller: NvmController): Buffer {
	const page = Buffer.alloc(firmwareLogBytes);
	// AFI: slot 1 is active.
	page[0] = 1;
	paddedText(controller.subsystem.firmwareRevision, 8).copy(page, firstRevisionOffset);
	return page;
}
