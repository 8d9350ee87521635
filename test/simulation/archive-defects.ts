import type { Defect } from './defects.ts';

/** Deliberate bugs of the archive's repository: each lets two exporters and two collectors lose something of each other's, or leaves something behind. */
export const archiveDefects: readonly Defect[] = [
	{
		title: 'an export publishes without looking whether a collector has condemned what it needs',
		file: 'src/archive/archive-snapshot.ts',
		search: 'if (lost === undefined) {',
		replace: 'if (lost === undefined || lost.chunks.size >= 0) {',
	},
	{
		title: 'an export looks for what is condemned before its pending manifest stands',
		file: 'src/archive/archive-snapshot.ts',
		search:
			'			await lease.pend(manifest, signal);\n			const lost = await lostObjects(repository, manifest, collected, () => lease.renewIfDue(signal), signal);\n',
		replace:
			'			const lost = await lostObjects(repository, manifest, collected, () => lease.renewIfDue(signal), signal);\n			await lease.pend(manifest, signal);\n',
	},
	{
		title: 'a collector does not look again after it has condemned',
		file: 'src/archive/collector.ts',
		search: 'const isNeeded = needed.byManifests.hasHex(candidate.generation) || needed.byPendings.hasHex(candidate.generation);',
		replace: 'const isNeeded = needed.byManifests.size < 0;',
	},
	{
		title: 'pending manifests are nothing to a collector',
		file: 'src/archive/roots.ts',
		search: '		for (const key of pendingKeys) {\n',
		replace: '		for (const key of pendingKeys.slice(pendingKeys.length)) {\n',
	},
	{
		title: 'no name is left when a batch of condemned objects goes',
		file: 'src/archive/collector-housekeeping.ts',
		search: "		await this.#repository.putJson('collected', collectedKey(batchKey), {}, this.#signal);\n",
		replace: '',
	},
	{
		title: 'a dead export is cleared away without a revocation',
		file: 'src/archive/collector-housekeeping.ts',
		search: 'if (!isPublished && pendingKeys.length > 0 && store.canPutIfAbsent) {',
		replace: 'if (!isPublished && pendingKeys.length > 1000) {',
	},
	{
		title: 'a batch of another collector goes though its objects are there',
		file: 'src/archive/collector.ts',
		search: 'if (!(await this.#isAnyThere(left))) await this.#housekeeping.closeBatch(key);',
		replace: 'await this.#housekeeping.closeBatch(key);',
	},
	{
		title: 'a batch of a collector that stands still goes because a manifest needs what it names',
		file: 'src/archive/collector.ts',
		search: '!(isOver && byManifests.hasHex(generation))',
		replace: '!byManifests.hasHex(generation)',
	},
	{
		title: 'a collector deletes on, however long it stood still',
		file: 'src/archive/collector.ts',
		search: 'if (isNeeded || isLate) {',
		replace: 'if (isNeeded) {',
	},
	{
		title: 'what a dead collector has condemned is never settled',
		file: 'src/archive/collector.ts',
		search: '		await this.#clearOthers(others, needed.byManifests, deleted);\n',
		replace: '',
	},
	{
		title: 'a collector takes the lease of another one, which runs, for its own',
		file: 'src/archive/collector-housekeeping.ts',
		search: "return plain !== undefined && parseJson(plain, leaseKey)['owner'] === this.#owner;",
		replace: 'return plain !== undefined;',
	},
	{
		title: 'a collector that was killed and comes back waits until its own lease has run out',
		file: 'src/archive/collector-housekeeping.ts',
		search: 'if (this.#owner === undefined) return false;',
		replace: 'if (this.#owner !== null) return false;',
	},
];
