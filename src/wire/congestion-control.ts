import { BlockList } from 'node:net';
import { errorCode } from '../os/disk.ts';
import { congestionControlOf, setCongestionControl } from '../os/tcp-congestion.ts';

/**
 * Networks within one house: loopback, link-local and private addresses (RFC 1122, RFC 3927, RFC 1918; RFC 4291, RFC 4193). IPv4 in IPv6 counts as IPv4.
 */
const nearby = new BlockList();
for (const [network, bits] of [
	['127.0.0.0', 8],
	['169.254.0.0', 16],
	['10.0.0.0', 8],
	['172.16.0.0', 12],
	['192.168.0.0', 16],
] as const)
	nearby.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [
	['::1', 128],
	['fe80::', 10],
	['fc00::', 7],
] as const)
	nearby.addSubnet(network, bits, 'ipv6');

/**
 * `auto`: what the system gives, but not BBR towards a nearby peer: it sends by timers, at a pace that it measures, and on a network of microseconds that costs more than the reads that it sends
 * (docs/decisions/021). `system`: what the system gives.
 */
export type CongestionChoice = 'auto' | 'system';

/** The algorithm for a connection to which the system gave one. */
export function chosenAlgorithm(systems: string, peerAddress: string): string {
	const isNear = nearby.check(peerAddress, peerAddress.includes(':') ? 'ipv6' : 'ipv4');
	return isNear && systems.startsWith('bbr') ? 'cubic' : systems;
}

/** How fast answers are sent to peers. */
class CongestionControl {
	#choice: CongestionChoice = 'auto';

	configure(choice: CongestionChoice): void {
		this.#choice = choice;
	}

	/** To an accepted connection, before anything is sent. Where the kernel does not have the algorithm, or refuses to speak of it, the system's stays: that costs time and nothing else. */
	apply(fd: number, peerAddress: string): void {
		if (this.#choice === 'system') return;
		try {
			const systems = congestionControlOf(fd);
			const chosen = chosenAlgorithm(systems, peerAddress);
			if (chosen !== systems) setCongestionControl(fd, chosen);
		} catch (error) {
			if (errorCode(error) === '') throw error;
		}
	}
}

/** One for the process, as the system's setting is one. */
export const congestionControl = new CongestionControl();
