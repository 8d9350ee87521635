const barWidth = 40;

/** A line for each power of two of the latencies (µs) that LatencyHistogram.entries() gave, from the first to the last that has any; then the quantiles that are usually asked for. */
export function histogramText(entries: readonly (readonly [number, number])[]): string {
	const total = entries.reduce((sum, [, count]) => sum + count, 0);
	if (total === 0) return 'no latencies';
	const powers = new Map<number, number>();
	for (const [us, count] of entries) {
		const power = us < 1 ? 0 : Math.floor(Math.log2(us));
		powers.set(power, (powers.get(power) ?? 0) + count);
	}
	const [first, last] = [Math.min(...powers.keys()), Math.max(...powers.keys())];
	const largest = Math.max(...powers.values());
	const lines: string[] = [];
	for (let power = first; power <= last; power++) {
		const count = powers.get(power) ?? 0;
		const range = `${power === 0 ? 0 : 2 ** power}–${2 ** (power + 1) - 1} µs`;
		const bar = '#'.repeat(Math.ceil((count / largest) * barWidth));
		lines.push(`${range.padStart(24)} ${String(count).padStart(10)} ${((count / total) * 100).toFixed(3).padStart(8)} %  ${bar}`);
	}
	const quantiles = [0.5, 0.9, 0.99, 0.999, 0.9999].map(
		(share) => `p${Number((share * 100).toFixed(2))} ${quantile(entries, total, share)}`,
	);
	lines.push(`${''.padStart(24)} ${quantiles.join(', ')}, longest ${entries.at(-1)![0]} µs (bucket ends)`);
	return lines.join('\n');
}

function quantile(entries: readonly (readonly [number, number])[], total: number, share: number): number {
	const rank = Math.max(1, Math.ceil(total * share));
	let seen = 0;
	for (const [us, count] of entries) {
		seen += count;
		if (seen >= rank) return us;
	}
	return entries.at(-1)![0];
}
