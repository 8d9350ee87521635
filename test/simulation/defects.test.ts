import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { defects } from './defects.ts';

const root = join(import.meta.dirname, '..', '..');

test('every deliberate defect still has its place in the source, and docs/defects.md names it', async (t) => {
	const document = await readFile(join(root, 'docs/defects.md'), 'utf8');
	for (const { title, file, search } of defects) {
		const source = await readFile(join(root, file), 'utf8');
		t.is(source.split(search).length - 1, 1, `${file}: ${title}`);
		t.true(document.includes(title), title);
	}
});
