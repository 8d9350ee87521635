import test from 'ava';
import { order, together, turnRatios, turnsTable, type Turn } from '../../bench/turns.ts';

function turn(ops: number, serverCPUSeconds: number, seconds = 1): Turn {
	return { ops, seconds, serverCPUSeconds, clientCPUSeconds: 0.1, p50Us: 10, p99Us: 20 };
}

const cells = (line: string): string[] =>
	line
		.split('|')
		.map((text) => text.trim())
		.slice(1, -1);

test('each side has every slice as often, and neither always comes first', (t) => {
	t.is(order(['a', 'b'], 4, 0).join(''), 'abbabaab');
	t.is(order(['a', 'b'], 4, 1).join(''), 'baababba');
	t.is(order(['a', 'b', 'c'], 1, 1).join(''), 'cba');
	for (let repetition = 0; repetition < 8; repetition++) {
		const firsts = order(['a', 'b'], 10, repetition).filter((_side, index) => index % 2 === 0);
		t.is(firsts.filter((side) => side === 'a').length, 5);
	}
});

test('slices of a repetition are summed, their latencies are medians', (t) => {
	const slices = [turn(10, 0.1, 0.5), { ...turn(30, 0.2, 0.25), p50Us: 40, p99Us: 60 }, turn(20, 0.3, 0.25)];
	const { serverCPUSeconds, clientCPUSeconds, ...rest } = together(slices);
	t.deepEqual(rest, { ops: 60, seconds: 1, p50Us: 10, p99Us: 20 });
	t.true(Math.abs(serverCPUSeconds - 0.6) < 1e-9 && Math.abs(clientCPUSeconds - 0.3) < 1e-9);
});

test('a ratio is the median of those of the repetitions, each with its own neighbour', (t) => {
	// The machine is four times as fast in the second repetition: the ratio of medians would be the same, that of sums would not.
	const iscsi = [turn(100, 1), turn(400, 1), turn(100, 0.5)];
	const nvme = [turn(110, 1), turn(480, 0.5), turn(90, 0.5)];
	const measured = [
		{
			row: 'read',
			turns: new Map([
				['iSCSI', iscsi],
				['NVMe', nvme],
			]),
		},
		{ row: 'write', turns: new Map([['iSCSI', iscsi]]) },
	];
	const lines = turnRatios(measured, [
		['NVMe', 'iSCSI'],
		['NVMe', 'bare C'],
	]).split('\n');
	t.deepEqual(cells(lines[0]!), ['row', 'NVMe ÷ iSCSI, IOPS', 'a CPU second'], 'who did not run has no column');
	t.deepEqual(cells(lines[2]!), ['read', '1.10× (0.90–1.20)', '1.10× (0.90–2.40)']);
	t.deepEqual(cells(lines[3]!), ['write', '', '']);
});

test('the table has medians and costs for each operation', (t) => {
	const lines = turnsTable([{ row: 'read', turns: new Map([['NVMe', [turn(100, 0.001), turn(200, 0.001), turn(400, 0.001)]]]) }]).split(
		'\n',
	);
	t.deepEqual(cells(lines[2]!), ['read', 'NVMe', '200', '10', '20', '5.00', '500.00']);
});
