import { asynchronousEvents } from './asynchronous-events.ts';
import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { NvmController } from './nvm-controller.ts';
import type { Queue } from './queue.ts';
import type { Request } from './request.ts';
import { reservationMaskBits } from './reservation-notifications.ts';
import { status } from './status.ts';

/** Where a feature is asked for or set. */
export interface FeatureContext {
	readonly controller: NvmController;
	readonly request: Request;
	readonly queue: Queue;
	readonly nowMs: number;
}

interface CommonFeature {
	readonly name: string;
	readonly fid: number;
	/** What it is without the host's doing: SEL 001b, and 010b, because nothing is saved. */
	readonly initial: number;
	/** Data that comes with Set Features. */
	readonly setBytes?: number;
}

export interface ControllerFeature extends CommonFeature {
	readonly scope: 'controller';
	/** The answer's dword 0, or data. With `cdw11` for those features that have more than one value. */
	get(context: FeatureContext, cdw11: number): number | Buffer | { refused: number };
	/** The status. 'pending': it ends the request itself. Without it the feature cannot be changed. */
	set?(context: FeatureContext, cdw11: number, data: Buffer | undefined): number | 'pending';
}

export interface NamespaceFeature extends CommonFeature {
	readonly scope: 'namespace';
	get(context: FeatureContext, namespace: Namespace): number;
	/** The status, for one namespace; a value that is refused is refused before any namespace has it. */
	set?(context: FeatureContext, namespace: Namespace, cdw11: number): number;
	/** Bits that mean something; others are refused. */
	readonly bits: number;
}

export type Feature = ControllerFeature | NamespaceFeature;

/** Asynchronous Event Configuration: SMART / Health Critical Warnings, and the notices of OAES. */
const criticalWarnings = 0b1_1111;
export const nvmEventBits = criticalWarnings | (1 << asynchronousEvents.namespaceAttributeChanged.bit);

/** TMPSEL and THSEL of Temperature Threshold: the composite temperature or all of them; over or under. */
const allSensors = 0xf;
const thresholdTypes = ['overTemperatureThreshold', 'underTemperatureThreshold'] as const;

function queuesGranted(count: number): number {
	return (count - 1) | ((count - 1) << 16);
}

/** Every feature of an I/O controller, once. Ascending by FID. */
export const features: readonly Feature[] = [
	{
		name: 'Arbitration',
		fid: 0x01,
		scope: 'controller',
		initial: 0,
		get: ({ controller }) => controller.features.arbitration,
		set({ controller }, cdw11) {
			controller.features.arbitration = cdw11;
			return status.success;
		},
	},
	{
		name: 'Power Management',
		fid: 0x02,
		scope: 'controller',
		initial: 0,
		get: ({ controller }) => controller.features.powerManagement,
		set({ controller }, cdw11) {
			// PS: there is one power state.
			if ((cdw11 & 0x1f) !== 0) return status.invalidField;
			controller.features.powerManagement = cdw11;
			return status.success;
		},
	},
	{
		name: 'Temperature Threshold',
		fid: 0x04,
		scope: 'controller',
		initial: 0xffff,
		get({ controller }, cdw11) {
			const type = thresholdTypes[(cdw11 >>> 20) & 0b11];
			if (type === undefined || ((cdw11 >>> 16) & 0xf) !== 0) return { refused: status.invalidField };
			return controller.features[type];
		},
		set({ controller }, cdw11) {
			const type = thresholdTypes[(cdw11 >>> 20) & 0b11];
			const sensor = (cdw11 >>> 16) & 0xf;
			if (type === undefined || (sensor !== 0 && sensor !== allSensors)) return status.invalidField;
			controller.features[type] = cdw11 & 0xffff;
			return status.success;
		},
	},
	// TLER and DULBE: an engine that neither gives up early nor knows blocks that must not be read (NSFEAT, DAE).
	{ name: 'Error Recovery', fid: 0x05, scope: 'namespace', initial: 0, bits: 0, get: () => 0 },
	{
		name: 'Volatile Write Cache',
		fid: 0x06,
		scope: 'controller',
		initial: 1,
		get: ({ controller }) => (controller.features.writeCache ? 1 : 0),
		set({ controller, request, queue }, cdw11) {
			const was = controller.features.writeCache;
			controller.features.writeCache = (cdw11 & 1) === 1;
			if (!was || controller.features.writeCache) return status.success;
			// What is in the cache that is switched off has to reach stable storage.
			controller.flushEverything(() => queue.finish(request));
			return 'pending';
		},
	},
	{
		name: 'Number of Queues',
		fid: 0x07,
		scope: 'controller',
		initial: queuesGranted(limits.ioQueues),
		get: ({ controller }) => queuesGranted(controller.features.ioQueues),
		set({ controller, request }, cdw11) {
			const submission = cdw11 & 0xffff;
			const completion = cdw11 >>> 16;
			if (submission === 0xffff || completion === 0xffff) return status.invalidField;
			// It is said once, before the first I/O queue.
			if (controller.queues.size > 1) return status.commandSequenceError;
			// A queue of the fabric is a pair of them.
			controller.features.ioQueues = Math.min(limits.ioQueues, submission + 1, completion + 1);
			request.result0 = queuesGranted(controller.features.ioQueues);
			return status.success;
		},
	},
	{
		name: 'Write Atomicity Normal',
		fid: 0x0a,
		scope: 'controller',
		initial: 0,
		get: ({ controller }) => controller.features.disableNormal,
		set({ controller }, cdw11) {
			controller.features.disableNormal = cdw11 & 1;
			return status.success;
		},
	},
	{
		name: 'Asynchronous Event Configuration',
		fid: 0x0b,
		scope: 'controller',
		initial: 0,
		get: ({ controller }) => controller.events.configuration,
		set({ controller }, cdw11) {
			if ((cdw11 & ~nvmEventBits) !== 0) return status.invalidField;
			controller.events.configuration = cdw11;
			return status.success;
		},
	},
	{
		name: 'Timestamp',
		fid: 0x0e,
		scope: 'controller',
		initial: 0,
		setBytes: 8,
		get: ({ controller, nowMs }) => timestampData(controller, nowMs),
		set({ controller, nowMs }, _cdw11, data) {
			controller.features.timestamp = { valueMs: data!.readUIntLE(0, 6), setMs: nowMs };
			return status.success;
		},
	},
	{
		name: 'Keep Alive Timer',
		fid: 0x0f,
		scope: 'controller',
		// 1D4C0h, of transports that demand the timer.
		initial: limits.discoverySilenceMs,
		get: ({ controller }) => controller.keepAlive.timeoutMs,
		set: ({ controller }, cdw11) => (controller.keepAlive.set(cdw11, false) ? status.success : status.keepAliveTimeoutInvalid),
	},
	{
		name: 'I/O Command Set Profile',
		fid: 0x19,
		scope: 'controller',
		initial: 0,
		get: () => 0,
		// IOCSCI: combination 0 is the only one.
		set: (_context, cdw11) => ((cdw11 & 0x1ff) === 0 ? status.success : status.ioCommandSetCombinationRejected),
	},
	{
		name: 'Host Identifier',
		fid: 0x81,
		scope: 'controller',
		initial: 0,
		// EXHID: over fabrics there are only those of 128 bits.
		get: ({ controller }, cdw11) => ((cdw11 & 1) === 1 ? controller.host.id : { refused: status.invalidField }),
		setBytes: 16,
		// Connect has set it, once and for all.
		set: () => status.commandSequenceError,
	},
	{
		name: 'Reservation Notification Mask',
		fid: 0x82,
		scope: 'namespace',
		initial: 0,
		bits: reservationMaskBits,
		get: ({ controller }, { nsid }) => controller.reservations.mask(nsid),
		set({ controller }, { nsid }, cdw11) {
			controller.reservations.setMask(nsid, cdw11);
			return status.success;
		},
	},
	{
		name: 'Reservation Persistence',
		fid: 0x83,
		scope: 'namespace',
		initial: 0,
		bits: 1,
		get: (_context, { reservations }) => (reservations.persistThroughPowerLoss ? 1 : 0),
		set: (_context, { reservations }, cdw11) =>
			reservations.setPersistence(cdw11 === 1) === 'good' ? status.success : status.internalError,
	},
];

const byFid = new Map(features.map((feature) => [feature.fid, feature]));

export function findFeature(fid: number): Feature | undefined {
	return byFid.get(fid);
}

/** ONCS: Get Features takes SEL and Set Features SV; Timestamp. */
export const featureBits = (1 << 4) | (byFid.has(0x0e) ? 1 << 6 : 0);

/** NVMe Base 2.0, Feature Identifiers Supported and Effects Log Page (12h): FSUPP and the scope. */
export function featureEffects(): Buffer {
	const page = Buffer.alloc(1024);
	for (const { fid, scope } of features) page.writeUInt32LE(1 | (scope === 'namespace' ? 1 << 20 : 1 << 21), 4 * fid);
	return page;
}

/** NVMe Base 2.0, Timestamp - Data Structure for Get Features: six bytes of milliseconds, and the origin, which is the host or the last reset. */
function timestampData({ features: { timestamp }, startedMs }: NvmController, nowMs: number): Buffer {
	const setByHost = 1;
	const data = Buffer.alloc(8);
	const value = timestamp === undefined ? nowMs - startedMs : timestamp.valueMs + nowMs - timestamp.setMs;
	data.writeUIntLE(Math.floor(value) % 2 ** 48, 0, 6);
	data[6] = timestamp === undefined ? 0 : setByHost << 1;
	return data;
}
