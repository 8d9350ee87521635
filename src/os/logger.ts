/** What the layers below the appliance need of a logger; pino satisfies it. */
export interface Logger {
	debug(fields: object, message: string): void;
	info(fields: object, message: string): void;
	warn(fields: object, message: string): void;
	error(fields: object, message: string): void;
}

/** Says nothing: for tools and tests that look at results only. */
export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
