import { limits } from './limits.ts';

/** Changed Namespace List of a controller (NVMe Base 2.0, log page 04h). */
export class ChangedNamespaces {
	readonly #nsids = new Set<number>();

	add(nsid: number): void {
		this.#nsids.add(nsid);
	}

	clear(): void {
		this.#nsids.clear();
	}

	/** 4096 bytes; FFFFFFFFh alone when there are more than fit. */
	page(): Buffer {
		const page = Buffer.alloc(limits.changedNamespaces * 4);
		if (this.#nsids.size > limits.changedNamespaces) {
			page.writeUInt32LE(0xffff_ffff, 0);
			return page;
		}
		let at = 0;
		for (const nsid of [...this.#nsids].toSorted((a, b) => a - b)) at = page.writeUInt32LE(nsid, at);
		return page;
	}
}
