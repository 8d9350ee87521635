import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { commands } from '../../src/scsi/commands.ts';
import { modePages } from '../../src/scsi/mode-pages.ts';
import { cdb, setUp } from './initiator.ts';

/** The rows of docs/support.md that stand under a heading of its SCSI part, with the codes of their first column: `2E, AE` is 2e and ae, `84/00, 03` is 84/00 and 84/03. */
async function rows(heading: string): Promise<{ codes: string[]; state: string; test: string }[]> {
	const text = await readFile(join(import.meta.dirname, '../../docs/support.md'), 'utf8');
	const scsi = text.slice(text.indexOf('\n## SCSI\n'));
	const section = scsi.slice(scsi.indexOf(`\n### ${heading}\n`) + 1).split('\n### ')[0]!;
	return section
		.split('\n')
		.filter((line) => /^\| [0-9A-F]{2}\b/.test(line))
		.map((line) => {
			const [, first = '', , state = '', , test = ''] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
			let opcode = '';
			const codes = first.split(', ').map((one) => {
				const [code, action] = one.toLowerCase().split('/');
				if (action !== undefined) opcode = code!;
				return action !== undefined ? `${code}/${action}` : opcode === '' ? code! : `${opcode}/${code}`;
			});
			return { codes, state, test };
		});
}

function hex(value: number): string {
	return value.toString(16).padStart(2, '0');
}

test('docs/support.md names every command as done, with a test, and calls nothing done or absent that is otherwise', async (t) => {
	const listed = await rows('Commands');
	const there = new Set(
		commands.map(({ opcode, serviceAction }) => hex(opcode) + (serviceAction === undefined ? '' : `/${hex(serviceAction)}`)),
	);
	const done = new Set(listed.filter(({ state }) => state === 'done').flatMap(({ codes }) => codes));
	for (const code of there) t.true(done.has(code), `${code} is missing`);
	for (const code of done) t.true(there.has(code), `${code} is not there`);
	for (const { codes, state } of listed) if (state === 'absent') for (const code of codes) t.false(there.has(code), `${code} is there`);
	for (const { codes, test: title } of listed) t.not(title, '', codes.join());
});

test('docs/support.md names every VPD page and mode page as done', async (t) => {
	const { dataIn } = await setUp().send(cdb.vpd(0));
	const pages = new Set([...dataIn.subarray(4)].map((code) => hex(code)));
	const vpd = (await rows('VPD pages')).filter(({ state }) => state === 'done').flatMap(({ codes }) => codes);
	t.deepEqual(vpd, [...pages]);
	const modes = (await rows('Mode pages')).filter(({ state }) => state === 'done').flatMap(({ codes }) => codes);
	t.deepEqual(
		modes.filter((code) => code !== '3f'),
		modePages.map(({ code, subpage }) => hex(code) + (subpage === 0 ? '' : `/${hex(subpage)}`)),
	);
});
