import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { limits } from './limits.ts';
import { quoted } from './names.ts';
import { UsageError } from './usage-error.ts';

/** Refuses (UsageError) what is no list of networks or addresses: `10.0.0.0/24`, `fd00::/8`, `10.0.0.7`. Returns each once, in order. */
export function checkSources(sources: readonly string[]): string[] {
	const once = [...new Set(sources)];
	if (once.length > limits.sourcesPerInitiator) {
		throw new UsageError(`An initiator comes from at most ${limits.sourcesPerInitiator} networks.`);
	}
	for (const source of once) parse(source);
	return once;
}

/** Which addresses an initiator may come from; none named means any. */
export class Sources {
	readonly #list: BlockList | undefined;

	constructor(sources: readonly string[]) {
		if (sources.length === 0) return;
		this.#list = new BlockList();
		for (const { network, prefix, family } of sources.map(parse)) this.#list.addSubnet(network, prefix, family);
	}

	/** `address`: an IP address without brackets. */
	includes(address: string): boolean {
		if (this.#list === undefined) return true;
		if (isIPv4(address)) return this.#list.check(address, 'ipv4');
		return isIPv6(address) && this.#list.check(address, 'ipv6');
	}
}

function parse(source: string): { network: string; prefix: number; family: 'ipv4' | 'ipv6' } {
	const parts = /^(?<network>[0-9a-fA-F:.]{2,45})(?:\/(?<prefix>\d{1,3}))?$/.exec(source)?.groups;
	const network = parts?.['network'] ?? '';
	const family = isIPv4(network) ? 'ipv4' : isIPv6(network) ? 'ipv6' : undefined;
	const most = family === 'ipv4' ? 32 : 128;
	const prefix = Number(parts?.['prefix'] ?? most);
	if (family === undefined || prefix > most) {
		throw new UsageError(`${quoted(source)} is no network: it looks like 10.0.0.0/24, fd00::/8, or one address.`);
	}
	return { network, prefix, family };
}
