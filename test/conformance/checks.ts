let passed = 0;
let failed = 0;

/** One named claim of a lane: prints `ok` or `not ok` with the claim, and how it failed. Later claims go on. */
export async function check(claim: string, body: () => Promise<string | void>): Promise<void> {
	const startMs = performance.now();
	try {
		const figures = await body();
		passed++;
		console.log(
			`ok - ${claim}${typeof figures === 'string' ? ` (${figures})` : ''} [${((performance.now() - startMs) / 1000).toFixed(1)} s]`,
		);
	} catch (error) {
		failed++;
		const words = error instanceof Error ? error.message : String(error);
		console.log(`not ok - ${claim}\n${words.replaceAll(/^/gm, '    ')}`);
	}
}

/** The last word of a lane: its count, and its exit code. */
export function finish(): never {
	console.log(`${passed} passed, ${failed} failed`);
	process.exit(failed === 0 ? 0 : 1);
}

export function expect(condition: boolean, words: string): void {
	if (!condition) throw new Error(words);
}
