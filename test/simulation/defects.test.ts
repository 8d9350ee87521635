import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { catchersOf } from './defect-catchers.ts';
import { defects } from './defects.ts';

const root = join(import.meta.dirname, '..', '..');

test('every deliberate defect still has its place in the source, and docs/defects.md names what catches it', async (t) => {
	const document = await readFile(join(root, 'docs/defects.md'), 'utf8');
	for (const { title, file, search } of defects) {
		const source = await readFile(join(root, file), 'utf8');
		t.is(source.split(search).length - 1, 1, `${file}: ${title}`);
		const catchers = catchersOf(document, title, root);
		t.true(catchers !== undefined && catchers.simulations.length + catchers.files.length > 0, title);
	}
});
