import { cpus } from 'node:os';
import type { Cell } from './cell.ts';

export type Cells = ReadonlyMap<string, ReadonlyMap<string, readonly Cell[]>>;

export function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function medianOf(cells: readonly Cell[], field: keyof Cell): number | undefined {
	const values = cells.map((cell) => cell[field]).filter((value) => value !== undefined);
	return values.length === 0 ? undefined : median(values);
}

function shown(value: number | undefined, digits = 0): string {
	return value === undefined ? '–' : value.toFixed(digits);
}

export function markdownTable(heads: readonly string[], textColumns: number, lines: readonly (readonly string[])[]): string {
	const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
	return [line(heads), line(heads.map((_head, index) => (index < textColumns ? '---' : '---:'))), ...lines.map(line)].join('\n');
}

/** A Markdown table: a line for each row and server, with medians. */
export function markdown(cells: Cells): string {
	const heads = [
		'row',
		'server',
		'IOPS (min–max)',
		'MB/s',
		'p50 µs',
		'p99 µs',
		'server CPU s',
		'afterwards CPU s',
		'ops per server CPU s',
		'RSS MiB',
		'client CPU %',
	];
	const lines: string[][] = [];
	for (const [row, byServer] of cells) {
		for (const [server, measured] of byServer) {
			if (measured.length === 0) continue;
			const iops = measured.map((cell) => cell.iops);
			const clientShare = medianOf(measured, 'clientCPUShare');
			lines.push([
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
				shown(clientShare === undefined ? undefined : clientShare * 100),
			]);
		}
	}
	return markdownTable(heads, 2, lines);
}

export function machine(): string {
	const all = cpus();
	return `${all.length} × ${all[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}`;
}
