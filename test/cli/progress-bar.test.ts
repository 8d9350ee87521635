import test from 'ava';
import { ProgressBar } from '../../src/cli/progress-bar.ts';

function stream(isTTY: boolean, columns = 80) {
	const written: string[] = [];
	return { written, isTTY, columns, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream & {
		written: string[];
	};
}

test('on a terminal one line is drawn over, only when it changes, and taken away at the end', (t) => {
	const terminal = stream(true);
	const bar = new ProgressBar('scrub', terminal);
	bar.update(undefined);
	bar.update(0.5, '5 pages');
	bar.update(0.5, '5 pages');
	bar.update(7);
	bar.end();
	t.deepEqual(terminal.written, [
		`\rscrub [${'.'.repeat(30)}]   ? %\u001b[K`,
		`\rscrub [${'#'.repeat(15)}${'.'.repeat(15)}]  50 %  5 pages\u001b[K`,
		`\rscrub [${'#'.repeat(30)}] 100 %\u001b[K`,
		'\r\u001b[K',
	]);
});

test('a narrow terminal has no second line; where there is no terminal nothing is drawn', (t) => {
	const narrow = stream(true, 20);
	new ProgressBar('scrub', narrow).update(0.5, 'and a long note');
	t.is(narrow.written[0]?.length, 1 + 19 + 3);
	const pipe = stream(false);
	const bar = new ProgressBar('scrub', pipe);
	bar.update(0.5);
	bar.end();
	t.deepEqual(pipe.written, []);
});
