import test from 'ava';
import type { Cell } from '../../bench/cell.ts';
import { ratioTable, verdicts } from '../../bench/ratios.ts';
import { markdown, type Cells } from '../../bench/table.ts';

function cell(iops: number, serverCPUSeconds: number, clientCPUShare: number): Cell {
	return {
		iops,
		megabytesPerSecond: 1,
		p50Us: 1,
		p99Us: 1,
		serverCPUSeconds,
		afterwardsCPUSeconds: 0,
		opsPerServerCPUSecond: iops / serverCPUSeconds,
		clientCPUShare,
		serverRSSMiB: 1,
	};
}

const row = '4k-random-read-qd32';

function cells(nvme: number, clientShare = 0.5, nvmeCPU = 1): Cells {
	return new Map([
		[
			row,
			new Map([
				['tgtd', [cell(100, 1, 0.2), cell(300, 1, 0.2), cell(50, 1, 0.2)]],
				['blockport', [cell(300, 1, 0.2)]],
				['blockport-nvme', [cell(nvme, nvmeCPU, 0.2)]],
				['bare-c', [cell(1000, 0.5, clientShare)]],
			]),
		],
		['write', new Map([['blockport', [cell(10, 1, 0.2)]]])],
	]);
}

test('ratios of medians, by IOPS and by CPU; where a server did not run the row there is none', (t) => {
	const lines = ratioTable(cells(600)).split('\n');
	t.deepEqual(
		lines[2]!.split('|').map((text) => text.trim()),
		['', row, '3.00×', '3.00×', '6.00×', '6.00×', '2.00×', '2.00×', '0.30×', '0.15×', '0.60×', '0.30×', ''],
	);
	t.regex(lines[3]!, /^\| write \|( +\|)+$/);
	t.is(ratioTable(new Map([[row, new Map([['blockport', [cell(1, 1, 0)]]])]])), '');
});

test('where the client was the limit of the reference, the ratio of IOPS is marked', (t) => {
	t.notRegex(ratioTable(cells(600)), /\*/);
	t.regex(ratioTable(cells(600, 0.95)), /0\.60×\*.*\n[^]*The client used 90 %/);
	t.regex(verdicts(cells(600, 0.95))[0]!.text, /the client was the limit of bare-c/);
});

test('the target of half of bare C is judged at its edge, by IOPS and by CPU', (t) => {
	t.like(verdicts(cells(500, 0.5, 0.5))[0], { isMet: true });
	t.like(verdicts(cells(499, 0.5, 0.1))[0], { isMet: false });
	t.like(verdicts(cells(900, 0.5, 0.91))[0], { isMet: false });
	t.regex(verdicts(cells(499))[0]!.text, /MISSED/);
	t.deepEqual(verdicts(new Map()), []);
});

test('the table of measurements has the client’s share in per cent and a dash for what is not known', (t) => {
	const unknown = { ...cell(10, 1, 0), clientCPUShare: undefined, p50Us: undefined };
	const lines = markdown(
		new Map([
			['r', new Map([['s', [unknown]]])],
			[
				'q',
				new Map([
					['s', [cell(10, 1, 0.257)]],
					['never', []],
				]),
			],
		]),
	).split('\n');
	t.is(lines.length, 4);
	t.regex(lines[2]!, /\| – \|$/);
	t.regex(lines[3]!, /\| 26 \|$/);
});
