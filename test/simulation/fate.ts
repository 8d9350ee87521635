import type { Random } from './random.ts';

/** What power loss makes of one unsynced change. */
export type Fate = 'lost' | 'whole' | 'torn';

/**
 * Decides the fate of every unsynced change. Deciding each by the same coin would almost never give the states in which ordering faults show
 * (all of one file and nothing of another, the last change without the first), so a power loss has a temper that is drawn first.
 */
export interface Temper {
	readonly name: string;
	/** `age` of the change: 0 the oldest unsynced one, 1 the youngest. `file` numbers the file or directory it belongs to. */
	fate(age: number, file: number): Fate;
}

const tempers: readonly ((random: Random) => Temper)[] = [
	() => ({ name: 'nothing survives', fate: () => 'lost' }),
	() => ({ name: 'everything survives', fate: () => 'whole' }),
	() => ({ name: 'everything tears', fate: () => 'torn' }),
	(random) => ({ name: 'coin', fate: () => random.pick<Fate>(['lost', 'whole', 'torn']) }),
	(random) => ({ name: 'most survive', fate: () => (random.chance(0.9) ? 'whole' : random.pick<Fate>(['lost', 'torn'])) }),
	(random) => ({ name: 'few survive', fate: () => (random.chance(0.9) ? 'lost' : random.pick<Fate>(['whole', 'torn'])) }),
	(random) => {
		const cut = random.below(1000) / 1000;
		return { name: 'the older survive', fate: (age) => (age < cut ? 'whole' : random.chance(0.1) ? 'torn' : 'lost') };
	},
	(random) => {
		const cut = random.below(1000) / 1000;
		return { name: 'the younger survive', fate: (age) => (age >= cut ? 'whole' : random.chance(0.1) ? 'torn' : 'lost') };
	},
	(random) => {
		const survives = new Map<number, boolean>();
		return {
			name: 'whole files survive',
			fate: (_age, file) => {
				let kept = survives.get(file);
				if (kept === undefined) survives.set(file, (kept = random.chance(0.5)));
				return kept ? 'whole' : 'lost';
			},
		};
	},
];

export function drawTemper(random: Random): Temper {
	return random.pick(tempers)(random);
}

/** Which sectors of a torn change reach the disk: any subset, often a run. */
export function drawSectors(random: Random, sectors: number): (index: number) => boolean {
	const cut = random.below(sectors + 1);
	const shape = random.below(4);
	if (shape === 0) return (index) => index < cut;
	if (shape === 1) return (index) => index >= cut;
	if (shape === 2) return (index) => index !== cut;
	return () => random.chance(0.5);
}
