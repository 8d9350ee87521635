type Say = (about: Record<string, unknown>, message: string) => void;

/** The part of pino's interface that is used here. */
export interface Logger {
	readonly debug: Say;
	readonly info: Say;
	readonly warn: Say;
	readonly error: Say;
}
