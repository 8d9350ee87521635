/** Work that takes long, cut into steps of about a millisecond by its `yield`s; what it returns is the result. */
export type Steps<T> = Generator<undefined, T>;

export function atOnce<T>(steps: Steps<T>): T {
	for (;;) {
		const { done, value } = steps.next();
		if (done === true) return value;
	}
}

/** A step in each turn of the loop, so that commands have theirs between them. */
export async function inTurns<T>(steps: Steps<T>): Promise<T> {
	for (;;) {
		const { done, value } = steps.next();
		if (done === true) return value;
		await new Promise<void>((resolve) => {
			setImmediate(resolve);
		});
	}
}
