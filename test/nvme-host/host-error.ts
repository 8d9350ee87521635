/** The controller broke the protocol, refused a command that a test takes for granted, or the connection failed. */
export class HostError extends Error {}

/** The controller broke the protocol in a way that an H2CTermReq answers. */
export class ProtocolViolation extends HostError {
	/** Fatal Error Status and Information, as the H2CTermReq says them. */
	readonly fes: number;
	readonly fei: number;

	constructor(words: string, fes: number, fei = 0) {
		super(words);
		this.fes = fes;
		this.fei = fei;
	}
}
