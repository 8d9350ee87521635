/** Keys that this initiator offers (RFC 7143 §13). Digests are always None. */
export interface LoginOptions {
	initiatorName?: string;
	initialR2T?: boolean;
	immediateData?: boolean;
	firstBurstLength?: number;
	maxBurstLength?: number;
	maxOutstandingR2T?: number;
	/** Our own MaxRecvDataSegmentLength. */
	maxRecvDataSegmentLength?: number;
	/** Further keys, or other values for the keys above. */
	keys?: Readonly<Record<string, string>>;
	/** Six bytes; two sessions of one initiator need different ones. By default a new one each time. */
	isid?: Uint8Array;
}

/** What holds after login. */
export interface Negotiated {
	initialR2T: boolean;
	immediateData: boolean;
	firstBurstLength: number;
	maxBurstLength: number;
	/** The target's: how much one PDU of ours may carry. */
	targetMaxRecvDataSegmentLength: number;
	maxOutstandingR2T: number;
	/** Every key of the target's answers. */
	keys: ReadonlyMap<string, string>;
}

const yesNo = (value: boolean): string => (value ? 'Yes' : 'No');

export const defaultInitiatorName = 'iqn.2026-11.dev.blockport.test:initiator';

export function offeredKeys(targetName: string | undefined, options: LoginOptions): Record<string, string> {
	const common = {
		InitiatorName: options.initiatorName ?? defaultInitiatorName,
		HeaderDigest: 'None',
		DataDigest: 'None',
		ErrorRecoveryLevel: '0',
		MaxRecvDataSegmentLength: String(options.maxRecvDataSegmentLength ?? 262_144),
		DefaultTime2Wait: '2',
		DefaultTime2Retain: '0',
	};
	if (targetName === undefined) return { ...common, SessionType: 'Discovery', ...options.keys };
	return {
		...common,
		SessionType: 'Normal',
		TargetName: targetName,
		InitialR2T: yesNo(options.initialR2T ?? false),
		ImmediateData: yesNo(options.immediateData ?? true),
		FirstBurstLength: String(options.firstBurstLength ?? 262_144),
		MaxBurstLength: String(options.maxBurstLength ?? 16_776_192),
		MaxOutstandingR2T: String(options.maxOutstandingR2T ?? 1),
		MaxConnections: '1',
		DataPDUInOrder: 'Yes',
		DataSequenceInOrder: 'Yes',
		...options.keys,
	};
}

export function encodeKeys(keys: Readonly<Record<string, string>>): Buffer {
	return Buffer.from(
		Object.entries(keys)
			.map(([key, value]) => `${key}=${value}\0`)
			.join(''),
	);
}

export function decodeKeys(data: Buffer): [string, string][] {
	return data
		.toString()
		.split('\0')
		.filter((pair) => pair.length > 0)
		.map((pair) => {
			const equals = pair.indexOf('=');
			return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
		});
}

/** The outcome of the negotiation: RFC 7143 §13.10 (OR), §13.11 (AND), §13.13 and §13.14 (minimum). */
export function negotiated(offered: Readonly<Record<string, string>>, answers: ReadonlyMap<string, string>): Negotiated {
	const number = (key: string, whenAbsent: number): number => Number(answers.get(key) ?? whenAbsent);
	const smaller = (key: string, whenAbsent: number): number => Math.min(number(key, whenAbsent), Number(offered[key] ?? whenAbsent));
	return {
		initialR2T: offered.InitialR2T !== 'No' || (answers.get('InitialR2T') ?? 'Yes') !== 'No',
		immediateData: offered.ImmediateData !== 'No' && (answers.get('ImmediateData') ?? 'Yes') !== 'No',
		firstBurstLength: smaller('FirstBurstLength', 65_536),
		maxBurstLength: smaller('MaxBurstLength', 262_144),
		targetMaxRecvDataSegmentLength: number('MaxRecvDataSegmentLength', 8192),
		maxOutstandingR2T: smaller('MaxOutstandingR2T', 1),
		keys: answers,
	};
}
