import { once } from 'node:events';
import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { type PortalOptions, Portals } from '../../src/appliance/portals.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';
import { standIns } from './stand-in.ts';

const anywhere = { host: '127.0.0.1', port: 0 };

function made(t: ExecutionContext, options: Partial<PortalOptions>) {
	const parts = standIns();
	const registries = {
		targets: {
			find: () => undefined,
			visibleTo: () => [],
			admits: () => false,
			chapOf: () => undefined,
			discoveryChap: () => undefined,
			redirection: () => undefined,
		},
		subsystems: { find: () => undefined, all: () => [], onChange: () => () => undefined },
	};
	const portals = new Portals(
		parts.parts,
		registries,
		{ budget: new MemoryBudget(2 ** 26), log: silent, version: '1.2.3' },
		{ demo: true, iscsi: anywhere, iscsiMore: [], nvme: anywhere, nvmeDiscovery: anywhere, drainMs: 7, ...options },
	);
	t.teardown(() => portals.drain());
	return { portals, parts };
}

async function held(t: ExecutionContext): Promise<{ host: string; port: number }> {
	const server = createServer().listen(0, '127.0.0.1');
	t.teardown(() => server.close());
	await once(server, 'listening');
	const address = server.address();
	return { host: '127.0.0.1', port: typeof address === 'object' && address !== null ? address.port : 0 };
}

test('three listeners; hosts are told of the I/O portal only while it listens; all are drained, then the controllers end', async (t) => {
	const { portals, parts } = made(t, {});
	t.deepEqual(parts.nvme?.portals(), []);
	await portals.listen();
	t.deepEqual(parts.nvme?.portals(), [portals.nvme!]);
	t.is(new Set([portals.iscsiAddress?.port, portals.nvme?.port, portals.nvmeDiscovery?.port]).size, 3);
	await portals.drain();
	t.deepEqual([parts.portal?.drainedMs, parts.nvme?.io.drainedMs, parts.nvme?.discovery.drainedMs], [7, 7, 7]);
	t.true(parts.nvme?.closed);
});

test('a port that was asked for and is taken is refused with its flag, and what listens already can be drained', async (t) => {
	const taken = await held(t);
	for (const [options, flag] of [
		[{ nvme: taken }, '--nvme'],
		[{ nvmeDiscovery: taken }, '--nvme-discovery'],
	] as const) {
		const { portals, parts } = made(t, options);
		await t.throwsAsync(portals.listen(), { instanceOf: UsageError, message: new RegExp(`taken by another program: .*${flag}\\.$`) });
		await portals.drain();
		t.is(parts.portal?.drainedMs, 7);
	}
});

test('a usual port that is taken: the next free one, and a sentence that says so', async (t) => {
	const { portals } = made(t, { nvme: undefined, nvmeDiscovery: undefined });
	const holders = [4420, 8009].map((port) => createServer().listen(port, '127.0.0.1'));
	t.teardown(() => {
		for (const holder of holders) holder.close();
	});
	// Whoever holds them, they are held.
	await Promise.all(holders.map((holder) => new Promise((resolve) => holder.once('listening', resolve).once('error', resolve))));
	await portals.listen();
	t.true((portals.nvme?.port ?? 0) > 4420 && (portals.nvmeDiscovery?.port ?? 0) > 8009);
	t.deepEqual(portals.notices, [
		`port 4420 is taken by another program: NVMe/TCP is at 127.0.0.1:${portals.nvme?.port}`,
		`port 8009 is taken by another program: NVMe discovery is at 127.0.0.1:${portals.nvmeDiscovery?.port}`,
	]);
});
