/** What login settles for a session or a connection. Lengths in bytes. Starts as the standard's defaults (RFC 7143 §13). */
export interface Parameters {
	headerDigest: boolean;
	dataDigest: boolean;
	/** What the initiator takes in one PDU; ours is limits.maxRecvDataSegmentLength. */
	maxRecvDataSegmentLength: number;
	maxConnections: number;
	initialR2T: boolean;
	immediateData: boolean;
	maxBurstLength: number;
	firstBurstLength: number;
	defaultTime2Wait: number;
	defaultTime2Retain: number;
	maxOutstandingR2T: number;
	dataPDUInOrder: boolean;
	dataSequenceInOrder: boolean;
	errorRecoveryLevel: number;
	iSCSIProtocolLevel: number;
}

export function defaultParameters(): Parameters {
	return {
		headerDigest: false,
		dataDigest: false,
		maxRecvDataSegmentLength: 8192,
		maxConnections: 1,
		initialR2T: true,
		immediateData: true,
		maxBurstLength: 262144,
		firstBurstLength: 65536,
		defaultTime2Wait: 2,
		defaultTime2Retain: 20,
		maxOutstandingR2T: 1,
		dataPDUInOrder: true,
		dataSequenceInOrder: true,
		errorRecoveryLevel: 0,
		iSCSIProtocolLevel: 1,
	};
}
