/** Counters of an NVMe/TCP listener since the start, for /metrics. */
export class Statistics {
	connections = 0;
	connectionsRefused = 0;
	commands = 0;
	bytesRead = 0;
	bytesWritten = 0;
	r2ts = 0;
	headerDigestErrors = 0;
	dataDigestErrors = 0;
	/** C2HTermReq sent, but for header digests. */
	protocolErrors = 0;
	/** H2CTermReq received. */
	terminatedByHost = 0;
	commandsAborted = 0;
	stalled = 0;
}
