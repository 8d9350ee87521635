/** Places that one source address may take, whatever number there is for all. Bounded by who calls: an address is remembered while it has a place. */
export class AddressSlots {
	readonly slotsPerAddress: number;
	readonly #taken = new Map<string, number>();

	constructor(slotsPerAddress: number) {
		this.slotsPerAddress = slotsPerAddress;
	}

	/** False, and nothing is done, when the address has all that it may have. */
	take(address: string): boolean {
		const taken = this.#taken.get(address) ?? 0;
		if (taken >= this.slotsPerAddress) return false;
		this.#taken.set(address, taken + 1);
		return true;
	}

	give(address: string): void {
		const taken = this.#taken.get(address);
		if (taken === undefined) throw new RangeError(`${address} has no slot`);
		if (taken === 1) this.#taken.delete(address);
		else this.#taken.set(address, taken - 1);
	}
}

/** The IPv4 address of a peer that came over it to a socket for both (RFC 4291 §2.5.5.2); others as they are. */
export function plainAddress(address: string): string {
	return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
