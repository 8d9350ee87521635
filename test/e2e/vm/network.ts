import { shell } from './image/shell.ts';

/** The private bridge: the target is at its host side, so that portal address is the same for both. The second host address is for a second portal. */
export const network = {
	bridge: 'e2e',
	tap: 'e2e-tap',
	hostAddress: '10.77.0.1',
	guestAddress: '10.77.0.2',
	secondHostAddress: '10.77.0.3',
	bits: 24,
} as const;

/** Makes bridge and tap in this process's own network namespace, with which they end. */
export async function makeNetwork(): Promise<void> {
	await ip('link', 'set', 'lo', 'up');
	await ip('link', 'add', network.bridge, 'type', 'bridge');
	await ip('address', 'add', `${network.hostAddress}/${network.bits}`, 'dev', network.bridge);
	await ip('tuntap', 'add', network.tap, 'mode', 'tap');
	await ip('link', 'set', network.tap, 'master', network.bridge);
	await setSecondAddress('up');
	for (const name of [network.tap, network.bridge]) {
		await ip('link', 'set', name, 'up');
	}
}

/** Pulls or plugs the cable: no frame passes while it is down, and neither side is told. */
export async function setLink(state: 'up' | 'down'): Promise<void> {
	await ip('link', 'set', network.tap, state);
}

/** Takes the second portal's address away, or gives it back: its connections fall silent, the others go on. */
export async function setSecondAddress(state: 'up' | 'down'): Promise<void> {
	await ip('address', state === 'up' ? 'replace' : 'delete', `${network.secondHostAddress}/${network.bits}`, 'dev', network.bridge);
}

async function ip(...args: string[]): Promise<void> {
	await shell('ip', args);
}
