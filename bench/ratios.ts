import type { Cell } from './cell.ts';
import { markdownTable, medianOf, type Cells } from './table.ts';

/** At this share of its CPU and above the client sets the pace, and a ratio of IOPS says less than one of CPU time. */
const clientBoundShare = 0.9;

interface Ratio {
	readonly of: string;
	readonly over: string;
	readonly name: string;
	/** Beside IOPS, operations for each second of the server's CPU. */
	readonly byCPU: boolean;
}

const ratios: readonly Ratio[] = [
	{ of: 'blockport', over: 'tgtd', name: 'iSCSI ÷ tgtd', byCPU: true },
	{ of: 'blockport', over: 'tgtd-defaults', name: 'iSCSI ÷ tgtd with its defaults', byCPU: true },
	{ of: 'blockport-nvme', over: 'tgtd', name: 'NVMe ÷ tgtd', byCPU: true },
	{ of: 'blockport-nvme', over: 'blockport', name: 'NVMe ÷ iSCSI', byCPU: true },
	{ of: 'blockport', over: 'bare-c', name: 'iSCSI ÷ bare C', byCPU: true },
	{ of: 'blockport-nvme', over: 'bare-c', name: 'NVMe ÷ bare C', byCPU: true },
];

/** What has to be reached on a row. */
interface Target {
	readonly row: string;
	readonly of: string;
	readonly over: string;
	readonly atLeast: number;
}

export const targets: readonly Target[] = [{ row: '4k-random-read-qd32', of: 'blockport-nvme', over: 'bare-c', atLeast: 0.5 }];

function ratio(byServer: ReadonlyMap<string, readonly Cell[]>, of: string, over: string, field: keyof Cell): number | undefined {
	const value = medianOf(byServer.get(of) ?? [], field);
	const reference = medianOf(byServer.get(over) ?? [], field);
	return value === undefined || reference === undefined || reference === 0 ? undefined : value / reference;
}

function isClientBound(byServer: ReadonlyMap<string, readonly Cell[]>, server: string): boolean {
	return (medianOf(byServer.get(server) ?? [], 'clientCPUShare') ?? 0) >= clientBoundShare;
}

/** A Markdown table of the ratios of medians, a line for each row; only those of servers that ran. `*` where the client was the limit of the server below the line. */
export function ratioTable(cells: Cells): string {
	const ran = new Set(
		[...cells.values()].flatMap((byServer) => [...byServer].filter(([, measured]) => measured.length > 0).map(([name]) => name)),
	);
	const chosen = ratios.filter(({ of, over }) => ran.has(of) && ran.has(over));
	if (chosen.length === 0) return '';
	const heads = ['row', ...chosen.flatMap(({ name, byCPU }) => [`${name}, IOPS`, ...(byCPU ? ['a CPU second'] : [])])];
	const lines = [...cells].map(([row, byServer]) => [
		row,
		...chosen.flatMap(({ of, over, byCPU }) => {
			const iops = ratio(byServer, of, over, 'iops');
			const perCPU = ratio(byServer, of, over, 'opsPerServerCPUSecond');
			const mark = isClientBound(byServer, over) ? '*' : '';
			return [
				iops === undefined ? '' : `${iops.toFixed(2)}×${mark}`,
				...(byCPU ? [perCPU === undefined ? '' : `${perCPU.toFixed(2)}×`] : []),
			];
		}),
	]);
	const isMarked = lines.some((line) => line.some((text) => text.endsWith('*')));
	const note = `\n\n\\* The client used ${clientBoundShare * 100} % of its CPU or more against the server below the line: that one could do more, and the ratio of CPU time is the one to go by.`;
	return markdownTable(heads, 1, lines) + (isMarked ? note : '');
}

/** A sentence for each target whose servers ran, and whether it was met: by IOPS, and by CPU time too, since a machine that had something else to do may have slowed down either server. */
export function verdicts(cells: Cells): { text: string; isMet: boolean }[] {
	return targets.flatMap(({ row, of, over, atLeast }) => {
		const byServer = cells.get(row);
		const reached = byServer === undefined ? undefined : ratio(byServer, of, over, 'iops');
		if (byServer === undefined || reached === undefined) return [];
		const perCPU = ratio(byServer, of, over, 'opsPerServerCPUSecond') ?? 0;
		const isMet = Math.min(reached, perCPU) >= atLeast;
		const bound = isClientBound(byServer, over) ? ` (the client was the limit of ${over})` : '';
		const text = `${row}: ${of} reaches ${percent(reached)} of ${over}${bound}, ${percent(perCPU)} for each CPU second; target ${percent(atLeast)}: ${isMet ? 'met' : 'MISSED'}`;
		return [{ text, isMet }];
	});
}

function percent(share: number): string {
	return `${Math.round(share * 100)} %`;
}
