import { cpus } from 'node:os';
import type { Cell } from './cell.ts';

export type Cells = ReadonlyMap<string, ReadonlyMap<string, readonly Cell[]>>;

function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function medianOf(cells: readonly Cell[], field: keyof Cell): number | undefined {
	const values = cells.map((cell) => cell[field]).filter((value) => value !== undefined);
	return values.length === 0 ? undefined : median(values);
}

function shown(value: number | undefined, digits = 0): string {
	return value === undefined ? '–' : value.toFixed(digits);
}

/** A Markdown table: a line for each row and server, with medians, and ratios of the medians of IOPS where both ran: Blockport over tgtd, and NVMe over iSCSI. */
export function markdown(cells: Cells): string {
	const lines = [
		'| row | server | IOPS (min–max) | MB/s | p50 µs | p99 µs | server CPU s | afterwards CPU s | ops per server CPU s | RSS MiB | client CPU s | ÷ tgtd | ÷ blockport |',
		'| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
	];
	for (const [row, byServer] of cells) {
		for (const [server, measured] of byServer) {
			const iops = measured.map((cell) => cell.iops);
			const ratio = (reference: string): string => {
				const others = server === 'tgtd' || server === reference ? undefined : byServer.get(reference);
				return others === undefined || others.length === 0 ? '' : `${(median(iops) / median(others.map((cell) => cell.iops))).toFixed(2)}×`;
			};
			const columns = [
				row,
				server,
				`${shown(median(iops))} (${shown(Math.min(...iops))}–${shown(Math.max(...iops))})`,
				shown(medianOf(measured, 'megabytesPerSecond')),
				shown(medianOf(measured, 'p50Us')),
				shown(medianOf(measured, 'p99Us')),
				shown(medianOf(measured, 'serverCPUSeconds'), 2),
				shown(medianOf(measured, 'afterwardsCPUSeconds'), 2),
				shown(medianOf(measured, 'opsPerServerCPUSecond')),
				shown(medianOf(measured, 'serverRSSMiB')),
				shown(medianOf(measured, 'clientCPUSeconds'), 2),
				ratio('tgtd'),
				ratio('blockport'),
			];
			lines.push(`| ${columns.join(' | ')} |`);
		}
	}
	return lines.join('\n');
}

export function machine(): string {
	const all = cpus();
	return `${all.length} × ${all[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}`;
}
