import type { AdminCommand } from './admin-command.ts';
import { type ControllerFeature, type Feature, type FeatureContext, type NamespaceFeature, findFeature } from './feature-rows.ts';
import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { NvmController } from './nvm-controller.ts';
import type { NextStep, Request } from './request.ts';
import { CommonSQE, GetFeaturesSQE, SetFeaturesSQE, everyNamespace } from './sqe.ts';
import { status } from './status.ts';

/** SEL of Get Features. */
const select = { current: 0, default: 1, saved: 2, supportedCapabilities: 3 } as const;
/** Supported Capabilities: namespace specific, changeable. Bit 0, saveable, is never set. */
const capability = { namespaceSpecific: 1 << 1, changeable: 1 << 2 } as const;

/** NVMe Base 2.0, Get Features. */
export const getFeatures: AdminCommand<NvmController> = {
	name: 'Get Features',
	opcode: 0x0a,
	start(controller, request, queue) {
		const { sqe } = request;
		const feature = findFeature(GetFeaturesSQE.fid.get(sqe, 0));
		const sel = GetFeaturesSQE.sel.get(sqe, 0);
		if (feature === undefined || sel > select.supportedCapabilities) return request.end(status.invalidField);
		if (sel === select.supportedCapabilities) {
			request.result0 = capabilities(feature);
			return 'finished';
		}
		const context: FeatureContext = { controller, request, queue, nowMs: queue.fabric.now() };
		if (feature.scope === 'namespace') return getOfNamespace(feature, context, sel);
		const value = feature.get(context, GetFeaturesSQE.cdw11.get(sqe, 0));
		if (typeof value === 'object' && 'refused' in value) return request.end(value.refused);
		// A default that is data has no number to be told by.
		if (Buffer.isBuffer(value)) request.dataToHost = value;
		else request.result0 = sel === select.current ? value : feature.initial;
		return 'finished';
	},
};

/** NVMe Base 2.0, Set Features. */
export const setFeatures: AdminCommand<NvmController> = {
	name: 'Set Features',
	opcode: 0x09,
	start(controller, request, queue) {
		const { sqe } = request;
		const feature = findFeature(SetFeaturesSQE.fid.get(sqe, 0));
		if (feature === undefined) return request.end(status.invalidField);
		if (SetFeaturesSQE.sv.get(sqe, 0) === 1) return request.end(status.featureIdentifierNotSaveable);
		if (feature.set === undefined) return request.end(status.featureNotChangeable);
		const context: FeatureContext = { controller, request, queue, nowMs: queue.fabric.now() };
		if (feature.scope === 'namespace') return setOfNamespaces(feature, context);
		const nsid = CommonSQE.nsid.get(sqe, 0);
		if (nsid !== 0 && nsid !== everyNamespace) return request.end(status.featureNotNamespaceSpecific);
		if (feature.setBytes === undefined) return set(feature, context, undefined);
		request.lengthBytes = feature.setBytes;
		return 'parameters';
	},
	parameters(controller, request, data, queue) {
		const feature = findFeature(SetFeaturesSQE.fid.get(request.sqe, 0)) as ControllerFeature;
		return set(feature, { controller, request, queue, nowMs: queue.fabric.now() }, data);
	},
};

function capabilities(feature: Feature): number {
	return (feature.scope === 'namespace' ? capability.namespaceSpecific : 0) | (feature.set === undefined ? 0 : capability.changeable);
}

function set(feature: ControllerFeature, context: FeatureContext, data: Buffer | undefined): NextStep {
	const { request } = context;
	const code = feature.set!(context, SetFeaturesSQE.cdw11.get(request.sqe, 0), data);
	return code === 'pending' ? 'pending' : request.end(code);
}

function getOfNamespace(feature: NamespaceFeature, context: FeatureContext, sel: number): NextStep {
	const { request, controller } = context;
	const nsid = CommonSQE.nsid.get(request.sqe, 0);
	const namespace = controller.subsystem.namespaces.get(nsid);
	if (namespace === undefined) return noNamespace(request, nsid);
	request.result0 = sel === select.current ? feature.get(context, namespace) : feature.initial;
	return 'finished';
}

function setOfNamespaces(feature: NamespaceFeature, context: FeatureContext): NextStep {
	const { request, controller } = context;
	const { namespaces } = controller.subsystem;
	const nsid = CommonSQE.nsid.get(request.sqe, 0);
	const value = SetFeaturesSQE.cdw11.get(request.sqe, 0);
	if ((value & ~feature.bits) !== 0) return request.end(status.invalidField);
	const named = namespaces.get(nsid);
	if (named === undefined && nsid !== everyNamespace) return noNamespace(request, nsid);
	const chosen: Iterable<Namespace> = named === undefined ? namespaces.values() : [named];
	for (const namespace of chosen) {
		const code = feature.set!(context, namespace, value);
		if (code !== status.success) return request.end(code);
	}
	return 'finished';
}

/** Reading needs one namespace, so FFFFFFFFh is as invalid there as an NSID that cannot be. */
function noNamespace(request: Request, nsid: number): 'finished' {
	return request.end(nsid === 0 || nsid > limits.namespacesPerSubsystem ? status.invalidNamespaceOrFormat : status.invalidField);
}
