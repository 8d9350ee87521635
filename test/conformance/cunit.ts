/** What became of one test of a CUnit program that runs in verbose mode. */
export interface CunitResult {
	suite: string;
	test: string;
	outcome: 'passed' | 'skipped' | 'failed';
	/** Why it was skipped or how it failed, in the program's words; the first few lines. */
	words: string[];
}

/** More says no more. */
const wordsMax = 4;
/** libiscsi's tests pass when they do nothing, and say so. */
const skipMark = '[SKIPPED]';

/**
 * Reads the output of CUnit's verbose mode: `Suite: NAME`, then for each test `Test: NAME ...`, what the test itself prints, and `passed` or `FAILED` with one numbered
 * line for each assertion. A test without a result ended the program.
 */
export function parseCunit(output: string): CunitResult[] {
	const results: CunitResult[] = [];
	let suite = '';
	let open: CunitResult | undefined;
	let isSettled = true;
	for (const line of output.split('\n')) {
		const suiteName = /^Suite: (\S+)/.exec(line)?.[1];
		if (suiteName !== undefined) {
			suite = suiteName;
			continue;
		}
		if (line.startsWith('Run Summary:')) break;
		const begun = /^ {2}Test: (.+?) \.\.\.(.*)$/.exec(line);
		if (begun !== null) {
			open = { suite, test: begun[1]!, outcome: 'failed', words: [] };
			results.push(open);
			isSettled = false;
		}
		if (open === undefined) continue;
		const text = begun === null ? line : begun[2]!;
		const result = isSettled ? undefined : /^\s*(passed|FAILED)|(passed|FAILED)$/.exec(text);
		if (text.includes(skipMark)) note(open, text.slice(text.indexOf(skipMark) + skipMark.length), 'skip');
		if (result !== null && result !== undefined) {
			isSettled = true;
			const passed = (result[1] ?? result[2]) === 'passed';
			if (!passed) open.words = [];
			open.outcome = !passed ? 'failed' : open.words.length > 0 ? 'skipped' : 'passed';
		} else if (isSettled && open.outcome === 'failed' && /^\s+\d+\. /.test(text)) note(open, text, 'failure');
	}
	if (open !== undefined && !isSettled) {
		open.outcome = 'failed';
		open.words = ['the program ended in the middle of it'];
	}
	return results;
}

function note(result: CunitResult, text: string, kind: 'skip' | 'failure'): void {
	const words = text.trim();
	if (result.words.length < wordsMax && (kind === 'failure' || !result.words.includes(words))) result.words.push(words);
}

/** `FAMILY.SUITE.TEST` lines of the program's list: the tests of each suite of a family. */
export function parseCunitList(output: string, family: string): Map<string, string[]> {
	const suites = new Map<string, string[]>();
	for (const line of output.split('\n')) {
		const [of, suite, test] = line.trim().split('.');
		if (of !== family || suite === undefined) continue;
		const tests = suites.get(suite) ?? [];
		if (test !== undefined) tests.push(test);
		suites.set(suite, tests);
	}
	return suites;
}
