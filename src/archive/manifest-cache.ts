import { limits } from './limits.ts';
import type { ManifestSummary } from './repository-types.ts';

/**
 * What the catalogue remembers of manifests. One never changes, so what was read stays true as long as its key is listed; 'revoked' stands for an export that never
 * will be one. A list makes it forget what is gone.
 */
export class ManifestCache {
	readonly #known = new Map<string, ManifestSummary | 'revoked'>();

	get(id: string): ManifestSummary | 'revoked' | undefined {
		return this.#known.get(id);
	}

	set(id: string, what: ManifestSummary | 'revoked'): void {
		if (this.#known.size < limits.manifestsMax) this.#known.set(id, what);
	}

	delete(id: string): void {
		this.#known.delete(id);
	}

	keepOnly(ids: ReadonlySet<string>): void {
		for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
	}
}
