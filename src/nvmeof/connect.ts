import { Registrant } from '../reservation/registrant.ts';
import { bytes, layout, reserved, u16le } from '../wire/layout.ts';
import { AuthExchange } from './auth-exchange.ts';
import type { Controller, Host } from './controller.ts';
import type { FabricsCommand } from './fabrics-commands.ts';
import { limits } from './limits.ts';
import type { NvmController } from './nvm-controller.ts';
import { discoveryNQN, readNQN } from './qualified-name.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';
import { ConnectSQE } from './sqe.ts';
import { status } from './status.ts';
import type { Subsystem } from './subsystem.ts';

/** NVMe Base 2.0, Connect Command - Data. */
export const ConnectData = layout('Connect Data', 1024, {
	hostid: bytes(0, 16),
	cntlid: u16le(16),
	reserved18: reserved(18, 238),
	subnqn: bytes(256, 256),
	hostnqn: bytes(512, 256),
	reserved768: reserved(768, 256),
});

/** CNTLID of a host that takes whatever controller it gets. */
export const dynamicController = 0xffff;
/** AUTHREQ in the answer, bit ATR: an authentication has to follow. */
const authenticationRequired = 1 << 17;

type ConnectField = { readonly offset: number };

/** IPO and IATTR: the field of the command, or of its data, that is refused. */
function refuse(request: Request, code: number, field: ConnectField, inData: boolean): 'finished' {
	request.result0 = field.offset | (inData ? 1 << 16 : 0);
	return request.end(code);
}

function badCommand(request: Request, field: ConnectField): 'finished' {
	return refuse(request, status.connectInvalidParameters, field, false);
}

function badData(request: Request, field: ConnectField): 'finished' {
	return refuse(request, status.connectInvalidParameters, field, true);
}

/** NVMe Base 2.0, Connect Command and Response. */
export const connect: FabricsCommand = {
	name: 'Connect',
	fctype: 0x01,
	from: 'unconnected',
	start(queue, request) {
		if (queue.controller !== undefined) return request.end(status.commandSequenceError);
		if (ConnectSQE.recfmt.get(request.sqe, 0) !== 0) return request.end(status.connectIncompatibleFormat);
		request.lengthBytes = ConnectData.sizeBytes;
		return 'parameters';
	},
	parameters(queue, request, data) {
		// Two Connects may have been under way at once.
		if (queue.controller !== undefined) return request.end(status.commandSequenceError);
		const sqsize = ConnectSQE.sqsize.get(request.sqe, 0);
		if (sqsize === 0 || sqsize >= limits.queueDepth) return badCommand(request, ConnectSQE.sqsize);
		const subsystemNQN = readNQN(ConnectData.subnqn.get(data, 0));
		if (subsystemNQN === undefined) return badData(request, ConnectData.subnqn);
		const nqn = readNQN(ConnectData.hostnqn.get(data, 0));
		if (nqn === undefined) return badData(request, ConnectData.hostnqn);
		const id = Buffer.from(ConnectData.hostid.get(data, 0));
		// Reservations are by host identifier: hosts without one would hold each other's.
		if (id.every((byte) => byte === 0)) return badData(request, ConnectData.hostid);
		const host: Host = { nqn, id, registrant: new Registrant('nvme', id.toString('hex')) };
		const cntlid = ConnectData.cntlid.get(data, 0);
		return ConnectSQE.qid.get(request.sqe, 0) === 0
			? connectAdmin(queue, request, subsystemNQN, host, cntlid)
			: connectIO(queue, request, subsystemNQN, host, cntlid);
	},
};

function connectAdmin(queue: Queue, request: Request, subsystemNQN: string, host: Host, cntlid: number): NextStep {
	const { fabric } = queue;
	if (cntlid !== dynamicController) return badData(request, ConnectData.cntlid);
	const isDiscovery = subsystemNQN === discoveryNQN;
	const subsystem = isDiscovery ? undefined : fabric.registry.find(subsystemNQN);
	if (!isDiscovery) {
		if (subsystem === undefined) return badData(request, ConnectData.subnqn);
		if (!subsystem.admits(host.nqn)) return refuse(request, status.connectInvalidHost, ConnectData.hostnqn, true);
	}
	const kato = ConnectSQE.kato.get(request.sqe, 0);
	if (kato > limits.keepAliveMsMax || (kato === 0 && !isDiscovery)) return request.end(status.keepAliveTimeoutInvalid);
	const controller: Controller | undefined =
		subsystem === undefined ? fabric.discovery.createController(host, queue.link) : subsystem.createController(host, fabric.now());
	if (controller === undefined) return request.end(status.connectControllerBusy, false);
	controller.keepAlive.set(kato, isDiscovery);
	return accept(queue, request, controller, subsystem);
}

function connectIO(queue: Queue, request: Request, subsystemNQN: string, host: Host, cntlid: number): NextStep {
	const { fabric } = queue;
	// A discovery controller has no I/O queues.
	if (subsystemNQN === discoveryNQN) return badCommand(request, ConnectSQE.qid);
	const subsystem = fabric.registry.find(subsystemNQN);
	if (subsystem === undefined) return badData(request, ConnectData.subnqn);
	if (!subsystem.admits(host.nqn)) return refuse(request, status.connectInvalidHost, ConnectData.hostnqn, true);
	const controller: NvmController | undefined = subsystem.controllers.get(cntlid);
	if (controller === undefined) return badData(request, ConnectData.cntlid);
	if (!controller.host.id.equals(host.id)) return badData(request, ConnectData.hostid);
	if (controller.host.nqn !== host.nqn) return badData(request, ConnectData.hostnqn);
	if (!controller.properties.isReady) return request.end(status.commandSequenceError);
	const qid = ConnectSQE.qid.get(request.sqe, 0);
	if (!controller.properties.hasEntrySizes || qid > controller.ioQueuesMax) return badCommand(request, ConnectSQE.qid);
	if (controller.queues.has(qid)) return request.end(status.invalidQueueIdentifier);
	const step = accept(queue, request, controller, subsystem);
	queue.serve(controller);
	return step;
}

function accept(queue: Queue, request: Request, controller: Controller, subsystem: Subsystem | undefined): NextStep {
	const { sqe } = request;
	const { fabric } = queue;
	const secrets = subsystem?.secretFor(controller.host.nqn);
	const auth =
		secrets === undefined || subsystem === undefined
			? undefined
			: new AuthExchange({
					ledger: fabric.ledger,
					secrets,
					hostNQN: controller.host.nqn,
					subsystemNQN: subsystem.nqn,
					nowMs: fabric.now(),
				});
	const qid = ConnectSQE.qid.get(sqe, 0);
	fabric.unconnected.delete(queue);
	queue.connect(controller, qid, ConnectSQE.sqsize.get(sqe, 0) + 1, ConnectSQE.disableSQFlowControl.get(sqe, 0) === 1, auth);
	request.result0 = controller.id | (auth === undefined ? 0 : authenticationRequired);
	fabric.log.info(
		{ subsystem: controller.owner.nqn, host: controller.host.nqn, controller: controller.id, queue: qid, remote: queue.link.remote },
		'host connected',
	);
	return 'finished';
}
