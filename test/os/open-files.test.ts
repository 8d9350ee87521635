import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { openFilesMax } from '../../src/os/open-files.ts';
import { temporaryDirectory } from '../temporary.ts';

test('the limit is the kernel’s, none if it has none, and a small one where nobody says', async (t) => {
	t.true(openFilesMax() >= 256);
	const path = join(await temporaryDirectory(t), 'limits');
	const heads = 'Limit                     Soft Limit           Hard Limit           Units     \n';
	const limits = async (soft: string): Promise<number> => {
		await writeFile(path, `${heads}Max open files            ${soft}               20000                files     \n`);
		return openFilesMax(path);
	};
	t.is(await limits('4096'), 4096);
	t.is(await limits('unlimited'), Infinity);
	t.is(await limits('x'), 1024);
	t.is(openFilesMax(`${path}-absent`), 1024);
});
