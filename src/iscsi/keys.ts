import { limits } from './limits.ts';
import type { Parameters } from './parameters.ts';

type NumberParameter = { [Key in keyof Parameters]: Parameters[Key] extends number ? Key : never }[keyof Parameters];
type BooleanParameter = { [Key in keyof Parameters]: Parameters[Key] extends boolean ? Key : never }[keyof Parameters];

/** When a key may be said: RFC 7143 §13, "Use". */
export type Use = 'security' | 'operational' | 'login' | 'any' | 'fullFeature';

interface Common {
	readonly use: Use;
	/** Settled once for the session by its leading connection, or for each connection. */
	readonly scope: 'session' | 'connection';
	/** §13: "Irrelevant when: SessionType=Discovery". */
	readonly inDiscovery: 'relevant' | 'irrelevant';
}

/**
 * How a key is settled:
 * - list: the first of the initiator's values that we have (§6.2.1)
 * - minimum, maximum: of both sides' numbers, within the range (§6.2.2)
 * - and, or: of both sides' booleans
 * - declaredNumber: each side says its own; ours is `ours`
 * - declared: the initiator says it and no answer is due
 * - question: SendTargets
 * - ours: only a target may say it
 * - obsolete: answered with a fixed value, whatever was offered (§13.25)
 */
export type KeyRow = Common &
	(
		| { readonly how: 'list'; readonly values: readonly string[]; readonly apply: (parameters: Parameters, value: string) => void }
		| {
				readonly how: 'minimum' | 'maximum';
				readonly range: readonly [number, number];
				readonly ours: number;
				readonly parameter: NumberParameter;
		  }
		| { readonly how: 'and' | 'or'; readonly ours: boolean; readonly parameter: BooleanParameter }
		| {
				readonly how: 'declaredNumber';
				readonly range: readonly [number, number];
				readonly ours: number;
				readonly parameter: NumberParameter;
		  }
		| { readonly how: 'declared'; readonly bytesMax: number }
		| { readonly how: 'question' }
		| { readonly how: 'ours' }
		| { readonly how: 'obsolete'; readonly answer: string }
	);

const session = { use: 'operational', scope: 'session', inDiscovery: 'irrelevant' } as const;
const always = { use: 'operational', scope: 'session', inDiscovery: 'relevant' } as const;
const named = { use: 'login', scope: 'session', inDiscovery: 'relevant' } as const;
const lengthRange = [512, 0xffffff] as const;

const offOrCRC32C = ['None', 'CRC32C'];

/** RFC 7143 §13 and §12.1 (AuthMethod), RFC 7144 §7 (iSCSIProtocolLevel): one row a key. A key that is not here is answered NotUnderstood. */
export const keys: Readonly<Record<string, KeyRow>> = {
	// Which of the two it is depends on the initiator: see Negotiation.kind().
	AuthMethod: {
		use: 'security',
		scope: 'connection',
		inDiscovery: 'relevant',
		how: 'list',
		values: ['None', 'CHAP'],
		apply: () => undefined,
	},
	HeaderDigest: {
		use: 'operational',
		scope: 'connection',
		inDiscovery: 'relevant',
		how: 'list',
		values: offOrCRC32C,
		apply: (parameters, value) => (parameters.headerDigest = value === 'CRC32C'),
	},
	DataDigest: {
		use: 'operational',
		scope: 'connection',
		inDiscovery: 'relevant',
		how: 'list',
		values: offOrCRC32C,
		apply: (parameters, value) => (parameters.dataDigest = value === 'CRC32C'),
	},
	MaxConnections: { ...session, how: 'minimum', range: [1, 65535], ours: 1, parameter: 'maxConnections' },
	SendTargets: { use: 'fullFeature', scope: 'session', inDiscovery: 'relevant', how: 'question' },
	TargetName: { ...named, how: 'declared', bytesMax: limits.iscsiNameBytes },
	InitiatorName: { ...named, how: 'declared', bytesMax: limits.iscsiNameBytes },
	TargetAlias: { use: 'any', scope: 'session', inDiscovery: 'relevant', how: 'ours' },
	InitiatorAlias: { use: 'any', scope: 'session', inDiscovery: 'relevant', how: 'declared', bytesMax: 255 },
	TargetAddress: { use: 'any', scope: 'session', inDiscovery: 'relevant', how: 'ours' },
	TargetPortalGroupTag: { use: 'login', scope: 'session', inDiscovery: 'relevant', how: 'ours' },
	InitialR2T: { ...session, how: 'or', ours: false, parameter: 'initialR2T' },
	ImmediateData: { ...session, how: 'and', ours: true, parameter: 'immediateData' },
	MaxRecvDataSegmentLength: {
		use: 'any',
		scope: 'connection',
		inDiscovery: 'relevant',
		how: 'declaredNumber',
		range: lengthRange,
		ours: limits.maxRecvDataSegmentLength,
		parameter: 'maxRecvDataSegmentLength',
	},
	MaxBurstLength: {
		...session,
		how: 'minimum',
		range: lengthRange,
		ours: Math.min(limits.maxBurstLength, 0xffffff),
		parameter: 'maxBurstLength',
	},
	FirstBurstLength: { ...session, how: 'minimum', range: lengthRange, ours: limits.firstBurstLength, parameter: 'firstBurstLength' },
	DefaultTime2Wait: { ...always, how: 'maximum', range: [0, 3600], ours: 0, parameter: 'defaultTime2Wait' },
	// Level 0 keeps nothing for a connection that comes back.
	DefaultTime2Retain: { ...always, how: 'minimum', range: [0, 3600], ours: 0, parameter: 'defaultTime2Retain' },
	MaxOutstandingR2T: { ...session, how: 'minimum', range: [1, 65535], ours: limits.maxOutstandingR2T, parameter: 'maxOutstandingR2T' },
	DataPDUInOrder: { ...session, how: 'or', ours: true, parameter: 'dataPDUInOrder' },
	DataSequenceInOrder: { ...session, how: 'or', ours: true, parameter: 'dataSequenceInOrder' },
	ErrorRecoveryLevel: { ...always, how: 'minimum', range: [0, 2], ours: 0, parameter: 'errorRecoveryLevel' },
	SessionType: { ...named, how: 'declared', bytesMax: 255 },
	TaskReporting: { ...session, how: 'list', values: ['RFC3720'], apply: () => undefined },
	NodeArchitecture: { use: 'any', scope: 'session', inDiscovery: 'relevant', how: 'declared', bytesMax: 255 },
	iSCSIProtocolLevel: { ...always, how: 'minimum', range: [0, 31], ours: 1, parameter: 'iSCSIProtocolLevel' },
	// Markers are gone from the standard; initiators that still offer them expect "No", and "Irrelevant" for the intervals.
	IFMarker: { ...always, how: 'obsolete', answer: 'No' },
	OFMarker: { ...always, how: 'obsolete', answer: 'No' },
	IFMarkInt: { ...always, how: 'obsolete', answer: 'Reject' },
	OFMarkInt: { ...always, how: 'obsolete', answer: 'Reject' },
};
