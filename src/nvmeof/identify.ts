import { layout, reserved, u32le, u8 } from '../wire/layout.ts';
import type { AdminCommand } from './admin-command.ts';
import { identifyNvmController } from './identify-controller.ts';
import { controllerList, ioCommandSets, namespaceDescriptors, namespaceList } from './identify-lists.ts';
import { identifyIndependentNamespace, identifyNamespace } from './identify-namespace.ts';
import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { NvmController } from './nvm-controller.ts';
import { number64le } from './number-field.ts';
import type { Request } from './request.ts';
import { CommonSQE, IdentifySQE, everyNamespace } from './sqe.ts';
import { status } from './status.ts';

export const identifyBytes = 4096;

/** CSI of the NVM Command Set, the only one. */
const nvmCommandSet = 0;

/** NVM Command Set 1.0, I/O Command Set Specific Identify Controller. */
export const NvmIdentifyController = layout('NVM Identify Controller', identifyBytes, {
	vsl: u8(0),
	wzsl: u8(1),
	wusl: u8(2),
	dmrl: u8(3),
	dmrsl: u32le(4),
	dmsl: number64le(8),
	reserved16: reserved(16, 4080),
});

type Answer = (controller: NvmController, request: Request) => Buffer | number;

/** CNS values. An answer is 4096 bytes, or the status that refuses. Those that name a command set are given NVM, whatever they need besides. */
const structures: ReadonlyMap<number, Answer> = new Map<number, Answer>([
	[0x00, (controller, request) => ofNamespace(controller, request, identifyNamespace)],
	[0x01, (controller) => identifyNvmController(controller)],
	[0x02, (controller, request) => activeNamespaces(controller, request)],
	[0x03, (controller, request) => descriptors(controller, request)],
	// NVM Command Set 1.0, I/O Command Set Specific Identify Namespace: nothing of it concerns a namespace without protection information.
	[0x05, forNvm((controller, request) => ofNamespace(controller, request, () => Buffer.alloc(identifyBytes)))],
	[0x06, forNvm(() => nvmIdentifyController())],
	[0x07, forNvm((controller, request) => activeNamespaces(controller, request))],
	[0x08, (controller, request) => ofNamespace(controller, request, identifyIndependentNamespace)],
	// Every namespace that there is, is attached to every controller: allocated and active are the same.
	[0x10, (controller, request) => activeNamespaces(controller, request)],
	[0x11, (controller, request) => ofNamespace(controller, request, identifyNamespace)],
	[0x12, (controller, request) => attachedControllers(controller, request)],
	[0x13, (controller, request) => controllerList(controller.subsystem, IdentifySQE.cntid.get(request.sqe, 0))],
	[0x1c, (controller, request) => commandSets(controller, request)],
]);

/** NVMe Base 2.0, Identify. */
export const identify: AdminCommand<NvmController> = {
	name: 'Identify',
	opcode: 0x06,
	start(controller, request) {
		const answer = structures.get(IdentifySQE.cns.get(request.sqe, 0));
		if (answer === undefined) return request.end(status.invalidField);
		const data = answer(controller, request);
		if (typeof data === 'number') return request.end(data);
		request.dataToHost = data;
		return 'finished';
	},
};

function forNvm(answer: Answer): Answer {
	return (controller, request) =>
		IdentifySQE.csi.get(request.sqe, 0) === nvmCommandSet ? answer(controller, request) : status.invalidField;
}

function isValid(nsid: number): boolean {
	return nsid !== 0 && nsid <= limits.namespacesPerSubsystem;
}

/** The structure of a namespace; zeros for an NSID that could be and is not there. */
function ofNamespace(controller: NvmController, { sqe }: Request, build: (namespace: Namespace) => Buffer): Buffer | number {
	const nsid = CommonSQE.nsid.get(sqe, 0);
	if (!isValid(nsid)) return status.invalidNamespaceOrFormat;
	const namespace = controller.subsystem.namespaces.get(nsid);
	return namespace === undefined ? Buffer.alloc(identifyBytes) : build(namespace);
}

function descriptors(controller: NvmController, { sqe }: Request): Buffer | number {
	const nsid = CommonSQE.nsid.get(sqe, 0);
	const namespace = controller.subsystem.namespaces.get(nsid);
	if (namespace !== undefined) return namespaceDescriptors(namespace);
	return isValid(nsid) ? status.invalidField : status.invalidNamespaceOrFormat;
}

/** Two NSIDs behind which no other could stand are refused (NVMe Base 2.0, Active Namespace ID list). */
function activeNamespaces(controller: NvmController, { sqe }: Request): Buffer | number {
	const nsid = CommonSQE.nsid.get(sqe, 0);
	return nsid >= everyNamespace - 1 ? status.invalidNamespaceOrFormat : namespaceList(controller.subsystem, nsid);
}

function attachedControllers(controller: NvmController, { sqe }: Request): Buffer | number {
	const nsid = CommonSQE.nsid.get(sqe, 0);
	if (!isValid(nsid)) return status.invalidNamespaceOrFormat;
	if (!controller.subsystem.namespaces.has(nsid)) return Buffer.alloc(identifyBytes);
	return controllerList(controller.subsystem, IdentifySQE.cntid.get(sqe, 0));
}

/** CNTID of the controller that is asked about; FFFFh is the one that is asked. */
function commandSets(controller: NvmController, { sqe }: Request): Buffer | number {
	const cntid = IdentifySQE.cntid.get(sqe, 0);
	return cntid === 0xffff || controller.subsystem.controllers.has(cntid) ? ioCommandSets() : status.invalidControllerIdentifier;
}

/** No bound on Verify, nor on the ranges of Dataset Management. */
function nvmIdentifyController(): Buffer {
	const data = Buffer.alloc(identifyBytes);
	NvmIdentifyController.wzsl.set(data, 0, Math.log2(limits.writeZeroesBytesMax / 4096));
	return data;
}
