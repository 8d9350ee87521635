import { cachingPage, controlPage, modeFields, modePages } from './mode-pages.ts';
import type { ModePage } from './mode-pages.ts';

/**
 * The current values of a logical unit's mode pages, the same for all nexuses (TST 000b). Invariant: the flags say what the pages do, so that a command looks at one property.
 */
export class ModeValues {
	/** WCE. */
	isWriteBack = true;
	/** SWP. */
	isWriteProtected = false;
	/** D_SENSE. */
	isDescriptorSense = false;
	readonly #current = new Map<ModePage, Buffer>();

	constructor() {
		this.reset();
	}

	current(page: ModePage): Buffer {
		return this.#current.get(page) ?? page.defaults;
	}

	/** Takes the values of a page that MODE SELECT has checked. True if something changed. */
	set(page: ModePage, values: Buffer): boolean {
		if (this.current(page).equals(values)) return false;
		this.#current.set(page, Buffer.from(values));
		this.#read();
		return true;
	}

	/** SAM-5, logical unit reset. */
	reset(): void {
		for (const page of modePages) this.#current.set(page, page.defaults);
		this.#read();
	}

	#read(): void {
		this.isWriteBack = modeFields.wce.get(this.current(cachingPage)) === 1;
		this.isWriteProtected = modeFields.swp.get(this.current(controlPage)) === 1;
		this.isDescriptorSense = modeFields.dSense.get(this.current(controlPage)) === 1;
	}
}
