/** What the simulation found wrong, with what is needed to see it again. */
export class SimulationFailure extends Error {
	override readonly name = 'SimulationFailure';
}

/** Rejects when an engine waits for something that never comes: nothing in a simulation takes so long. */
export async function withinTime<T>(work: Promise<T>, what: string, timeoutMs = 30_000): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const late = new Promise<never>((_resolve, reject) => {
		timer = setTimeout(() => reject(new SimulationFailure(`${what}: nothing moves any more`)), timeoutMs);
	});
	try {
		return await Promise.race([work, late]);
	} finally {
		clearTimeout(timer);
	}
}

export function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
