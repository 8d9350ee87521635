import { markdownTable, median } from './table.ts';

/** What one side did in one repetition: the sum of its slices. */
export interface Turn {
	ops: number;
	seconds: number;
	serverCPUSeconds: number;
	clientCPUSeconds: number;
	/** Medians of the slices. */
	p50Us: number;
	p99Us: number;
}

/** A row of the comparison: the turns of each side by repetition, so that the turns of one repetition were interleaved. */
export interface MeasuredRow {
	row: string;
	turns: ReadonlyMap<string, readonly Turn[]>;
}

/**
 * Who has which slice of a repetition: all sides there, or all back, so that a machine whose pace drifts, or that pays later for what was written, treats all alike. Which of both is told by the sequence of Thue and
 * Morse, which has no period: the flusher has one.
 */
export function order<Side>(sides: readonly Side[], slices: number, repetition: number): Side[] {
	return Array.from({ length: slices }, (_none, slice) => (isOdd(repetition * slices + slice) ? sides.toReversed() : sides)).flat();
}

/** Whether a number has an odd number of binary ones. */
function isOdd(number: number): boolean {
	let odd = false;
	for (let rest = number; rest > 0; rest >>>= 1) if ((rest & 1) === 1) odd = !odd;
	return odd;
}

/** One side's slices of a repetition together. */
export function together(slices: readonly Turn[]): Turn {
	const sum = (field: keyof Turn): number => slices.reduce((total, slice) => total + slice[field], 0);
	return {
		ops: sum('ops'),
		seconds: sum('seconds'),
		serverCPUSeconds: sum('serverCPUSeconds'),
		clientCPUSeconds: sum('clientCPUSeconds'),
		p50Us: median(slices.map(({ p50Us }) => p50Us)),
		p99Us: median(slices.map(({ p99Us }) => p99Us)),
	};
}

const iopsOf = ({ ops, seconds }: Turn): number => ops / seconds;
const cpuUsOf = ({ ops, serverCPUSeconds }: Turn): number => (serverCPUSeconds * 1e6) / ops;

/** Ratios of each repetition, of `side` to `reference`: median, smallest, largest. */
function ratios(side: readonly Turn[], reference: readonly Turn[], of: (turn: Turn) => number): string {
	const each = side.map((turn, repetition) => of(turn) / of(reference[repetition]!));
	return `${median(each).toFixed(2)}× (${Math.min(...each).toFixed(2)}–${Math.max(...each).toFixed(2)})`;
}

/** Medians over the repetitions. */
export function turnsTable(measured: readonly MeasuredRow[]): string {
	const heads = ['row', 'by', 'IOPS', 'p50 µs', 'p99 µs', 'server CPU µs/op', 'client CPU µs/op'];
	const lines = measured.flatMap(({ row, turns }) =>
		[...turns].map(([side, own]) => [
			row,
			side,
			median(own.map(iopsOf)).toFixed(0),
			median(own.map(({ p50Us }) => p50Us)).toFixed(0),
			median(own.map(({ p99Us }) => p99Us)).toFixed(0),
			median(own.map(cpuUsOf)).toFixed(2),
			median(own.map(({ ops, clientCPUSeconds }) => (clientCPUSeconds * 1e6) / ops)).toFixed(2),
		]),
	);
	return markdownTable(heads, 2, lines);
}

/** One side to another on each row that both have: medians of the ratios of the repetitions, smallest and largest beside them. */
export function turnRatios(measured: readonly MeasuredRow[], pairs: readonly (readonly [of: string, over: string])[]): string {
	const chosen = pairs.filter(([of, over]) => measured.some(({ turns }) => turns.has(of) && turns.has(over)));
	const heads = ['row', ...chosen.flatMap(([of, over]) => [`${of} ÷ ${over}, IOPS`, 'a CPU second'])];
	const lines = measured.map(({ row, turns }) => [
		row,
		...chosen.flatMap(([of, over]) => {
			const [side, reference] = [turns.get(of), turns.get(over)];
			if (side === undefined || reference === undefined) return ['', ''];
			return [ratios(side, reference, iopsOf), ratios(side, reference, (turn) => 1 / cpuUsOf(turn))];
		}),
	]);
	return markdownTable(heads, 1, lines);
}
