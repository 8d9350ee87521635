import { request } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { eventRoutes } from '../../src/admin/event-routes.ts';
import { loopbackHosts } from '../../src/admin/guard.ts';
import type { Operations } from '../../src/admin/operations.ts';
import { type ScheduleOperations, scheduleRoutes } from '../../src/admin/schedule-routes.ts';
import type { ScheduleDetailView } from '../../src/admin/schedule-schemas.ts';
import type { VolumeView } from '../../src/admin/schemas.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { type ScrubOperations, scrubRoutes } from '../../src/admin/scrub-routes.ts';
import type { ScrubView } from '../../src/admin/scrub-schemas.ts';
import { type SnapshotOperations, snapshotRoutes } from '../../src/admin/snapshot-routes.ts';
import type { SnapshotView } from '../../src/admin/snapshot-schemas.ts';
import { EventLog, listenersMax } from '../../src/appliance/event-log.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';

const keep = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
const schedule: ScheduleDetailView = {
	name: 'hourly',
	volumes: ['data'],
	cron: '@hourly',
	zone: 'UTC',
	template: '{utc}',
	keep,
	createdAt: '2026-11-21T12:00:00.000Z',
	next: [],
	snapshots: [{ volume: 'data', name: 'one', at: '2026-11-21T12:00:00.000Z', keptFor: ['last'] }],
};
const snapshot: SnapshotView = {
	volume: 'data',
	name: 'one',
	id: 2 ** 47 + 1,
	at: '2026-11-21T12:00:00.000Z',
	sizeBytes: 4096,
	mounts: [
		{ target: 'iqn.2026-11.test:one', lun: 3 },
		{ subsystem: 'nqn.2026-11.test:one', nsid: 1 },
	],
};
const volume: VolumeView = {
	name: 'new',
	uuid: '00000000-0000-4000-8000-000000000001',
	sizeBytes: 4096,
	blockSize: 512,
	createdAt: '2026-11-21T12:00:00.000Z',
	state: 'online',
	mappings: [],
	namespaces: [],
};
const restored = { ...volume, told: { sessions: 2, controllers: 1 } };
const changes = { from: 'one', fromLSN: 7, changedBytes: 4096, truncated: false, ranges: [{ offsetBytes: 0, lengthBytes: 4096 }] };

const space = {
	volume: 'data',
	referencedBytes: 3,
	exclusiveBytes: 2,
	totalBytes: 5,
	snapshots: [{ name: 'one', referencedBytes: 1, exclusiveBytes: 0 }],
};
const scrub: ScrubView = {
	volume: 'data',
	state: 'running',
	done: 0.5,
	startedAt: '2026-11-21T12:00:00.000Z',
	bytesPerSecond: 65_536,
	pages: 7,
	findings: 1,
	repaired: 0,
	found: [{ layer: 1, isLive: true, page: 3, lba: 24, kind: 'data', isRepaired: false }],
	cron: '@weekly',
	zone: 'UTC',
	next: '2026-11-22T00:00:00.000Z',
};

/** Note what they are asked, and say yes, or throw. */
class Stub {
	readonly calls: unknown[][] = [];
	error: Error | undefined;

	answer<T>(result: T, ...call: unknown[]): T {
		this.calls.push(call);
		if (this.error !== undefined) throw this.error;
		return result;
	}

	readonly schedules: ScheduleOperations = {
		list: () => this.answer([schedule], 'list'),
		show: (name) => this.answer(schedule, 'show', name),
		create: async (body) => this.answer(schedule, 'create', body),
		change: async (name, body) => this.answer(schedule, 'change', name, body),
		delete: async (name) => this.answer(undefined, 'delete', name),
		run: async (name) => this.answer({ name: 'one', volumes: ['data'], deleted: [{ volume: 'data', name: 'zero' }] }, 'run', name),
	};

	readonly scrubs: ScrubOperations = {
		view: (name) => this.answer(scrub, 'scrub', name),
		begin: async (name, body) => this.answer(scrub, 'begin', name, body),
		end: async (name) => this.answer(scrub, 'end', name),
		setTimes: async (name, times) => this.answer(scrub, 'setTimes', name, times),
	};

	readonly snapshots: SnapshotOperations = {
		views: (name) => this.answer([snapshot], 'views', name),
		view: (...which) => this.answer(snapshot, 'view', ...which),
		make: async (body) => this.answer([snapshot], 'make', body),
		remove: async (...which) => this.answer(undefined, 'remove', ...which),
		restore: async (...which) => this.answer(restored, 'restore', ...which),
		clone: async (...which) => this.answer(volume, 'clone', ...which),
		flatten: async (name) => this.answer({ isMerging: true, done: 0.5 }, 'flatten', name),
		space: async (name) => this.answer(space, 'space', name),
		merge: async (name) => this.answer({ isMerging: false }, 'merge', name),
		mount: async (...which) => this.answer(snapshot, 'mount', ...which),
		unmount: async (...which) => this.answer(undefined, 'unmount', ...which),
		changes: async (...which) => this.answer(changes, 'changes', ...which),
	};
}

async function serve(t: ExecutionContext) {
	const stub = new Stub();
	const events = new EventLog(silent, () => 0);
	const server = await AdminServer.create({
		operations: {} as Operations,
		log: silent,
		version: '1',
		more: [scheduleRoutes(stub.schedules), scrubRoutes(stub.scrubs), snapshotRoutes(stub.snapshots), eventRoutes(events)],
	});
	t.teardown(() => server.close());
	const port = await server.listenOnTcp('127.0.0.1', 0, { hosts: loopbackHosts, token: undefined });
	// oxlint-disable-next-line typescript/no-explicit-any -- what a test expects of it, it asserts
	const call = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> => {
		const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
			method,
			...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
		});
		const text = await answer.text();
		return { status: answer.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
	};
	return { stub, events, port, call };
}

const one = '/v1/volumes/data/snapshots/One.1';
const routes: [string, string, unknown, number, unknown[], unknown][] = [
	['GET', '/v1/schedules', undefined, 200, ['list'], undefined],
	['GET', '/v1/schedules/hourly', undefined, 200, ['show', 'hourly'], schedule],
	[
		'POST',
		'/v1/schedules',
		{ name: 'hourly', volumes: ['data'], cron: '@hourly', keep: { last: 1 } },
		201,
		['create', { name: 'hourly', volumes: ['data'], cron: '@hourly', zone: 'UTC', keep: { last: 1 } }],
		undefined,
	],
	['PATCH', '/v1/schedules/hourly', { keep: { daily: 7 } }, 200, ['change', 'hourly', { keep: { daily: 7 } }], undefined],
	['DELETE', '/v1/schedules/hourly', undefined, 204, ['delete', 'hourly'], undefined],
	[
		'POST',
		'/v1/schedules/hourly/run',
		{},
		200,
		['run', 'hourly'],
		{ name: 'one', volumes: ['data'], deleted: [{ volume: 'data', name: 'zero' }] },
	],
	['GET', '/v1/snapshots', undefined, 200, ['views', undefined], { snapshots: [snapshot] }],
	['GET', '/v1/volumes/data/snapshots', undefined, 200, ['views', 'data'], { snapshots: [snapshot] }],
	[
		'POST',
		'/v1/snapshots',
		{ volumes: ['data'], name: 'one' },
		201,
		['make', { volumes: ['data'], name: 'one' }],
		{ snapshots: [snapshot] },
	],
	['GET', one, undefined, 200, ['view', 'data', 'One.1'], snapshot],
	['DELETE', one, undefined, 204, ['remove', 'data', 'One.1'], undefined],
	['POST', `${one}/restore`, undefined, 200, ['restore', 'data', 'One.1', {}], restored],
	['POST', `${one}/restore`, { keepLiveAs: 'live' }, 200, ['restore', 'data', 'One.1', { keepLiveAs: 'live' }], restored],
	['POST', `${one}/clone`, { name: 'new' }, 201, ['clone', 'data', 'One.1', 'new'], volume],
	['POST', '/v1/volumes/data/flatten', {}, 202, ['flatten', 'data'], { isMerging: true, done: 0.5 }],
	['GET', '/v1/volumes/data/space', undefined, 200, ['space', 'data'], space],
	['GET', '/v1/volumes/data/merge', undefined, 200, ['merge', 'data'], { isMerging: false }],
	['PUT', `${one}/mount`, { subsystem: 'nqn', nsid: 3 }, 200, ['mount', 'data', 'One.1', { subsystem: 'nqn', nsid: 3 }], snapshot],
	['DELETE', `${one}/mount`, undefined, 204, ['unmount', 'data', 'One.1'], undefined],
	['GET', '/v1/volumes/data/scrub', undefined, 200, ['scrub', 'data'], scrub],
	['POST', '/v1/volumes/data/scrub', undefined, 202, ['begin', 'data', {}], scrub],
	['POST', '/v1/volumes/data/scrub', { bytesPerSecond: 65_536 }, 202, ['begin', 'data', { bytesPerSecond: 65_536 }], scrub],
	['DELETE', '/v1/volumes/data/scrub', undefined, 200, ['end', 'data'], scrub],
	['PUT', '/v1/volumes/data/scrub/times', { cron: '@weekly' }, 200, ['setTimes', 'data', { cron: '@weekly', zone: 'UTC' }], scrub],
	['DELETE', '/v1/volumes/data/scrub/times', undefined, 200, ['setTimes', 'data', undefined], scrub],
	['GET', `${one}/changes`, undefined, 200, ['changes', 'data', 'One.1', undefined, 10_000], changes],
	['GET', `${one}/changes?to=two&limit=5`, undefined, 200, ['changes', 'data', 'One.1', 'two', 5], changes],
];

test('every route reaches its operation with what was asked, and refusals come back with their kind', async (t) => {
	const { stub, call } = await serve(t);
	for (const [method, path, body, status, expected, answer] of routes) {
		const found = await call(method, path, body);
		t.is(found.status, status, `${method} ${path} ${JSON.stringify(found.body)}`);
		t.deepEqual(stub.calls.at(-1), expected, `${method} ${path}`);
		if (answer !== undefined) t.deepEqual(found.body, answer);
		stub.error = new UsageError('It is so.', 'inUse');
		t.deepEqual(await call(method, path, body), { status: 409, body: { error: { code: 'inUse', message: 'It is so.' } } });
		stub.error = undefined;
	}
});

test('bodies that are none are refused before anything is asked', async (t) => {
	const { stub, call } = await serve(t);
	const bad: [string, string, unknown][] = [
		['POST', '/v1/schedules', { name: 'a', volumes: [], cron: '@daily', keep: {} }],
		['POST', '/v1/schedules', { name: 'a', volumes: ['b'], keep: {} }],
		['POST', '/v1/schedules', { name: 'a', volumes: ['b'], cron: '@daily', keep: { last: -1 } }],
		['POST', '/v1/schedules', { name: 'a', volumes: ['b'], cron: '@daily', keep: { last: 1, other: 1 } }],
		['PATCH', '/v1/schedules/a', { volumes: ['b'] }],
		['POST', '/v1/snapshots', { volumes: 'data', name: 'a' }],
		['POST', '/v1/snapshots', { volumes: Array.from({ length: 65 }, String), name: 'a' }],
		['POST', `${one}/restore`, { keep: 'a' }],
		['POST', `${one}/clone`, {}],
		['PUT', `${one}/mount`, { lun: '1' }],
		['GET', `${one}/changes?limit=-1`, undefined],
		['GET', `${one}/changes?limit=100001`, undefined],
		['GET', '/v1/events?after=x', undefined],
		['GET', '/v1/events?limit=1001', undefined],
	];
	for (const [method, path, body] of bad) t.is((await call(method, path, body)).status, 400, `${method} ${path} ${JSON.stringify(body)}`);
	t.deepEqual(stub.calls, []);
});

test('the OpenAPI document names every route with its bodies', async (t) => {
	const { call } = await serve(t);
	const { body } = await call('GET', '/v1/openapi.json');
	const paths = body.paths as Record<string, Record<string, { requestBody?: object; responses: object; summary?: string }>>;
	for (const [method, path, sent] of routes) {
		const template = path
			.replace(/\?.*/, '')
			.replace('/volumes/data', '/volumes/{volume}')
			.replace('/One.1', '/{snapshot}')
			.replace('/hourly', '/{schedule}');
		const described = paths[template]?.[method.toLowerCase()];
		t.truthy(described?.summary, `${method} ${template}`);
		if (sent !== undefined && !/run$|flatten$/.test(path)) t.truthy(described?.requestBody, `${method} ${template}`);
	}
	t.truthy(paths['/v1/events']?.['get']);
});

test('events: the last ones, and those behind a number', async (t) => {
	const { events, call } = await serve(t);
	for (const kind of ['one', 'two', 'three']) events.add({ severity: 'info', kind, message: `${kind}.`, volume: 'data' });
	t.deepEqual((await call('GET', '/v1/events?after=1&limit=1')).body, {
		events: [{ sequence: 2, at: '1970-01-01T00:00:00.000Z', severity: 'info', kind: 'two', message: 'two.', volume: 'data' }],
	});
	t.is((await call('GET', '/v1/events')).body.events.length, 3);
});

test('events as a stream: from Last-Event-ID on, then as they come; so many may follow, and one that ends makes room', async (t) => {
	const { events, port, call } = await serve(t);
	const follow = (headers: Record<string, string> = {}) =>
		new Promise<{ status: number; end: () => void; until: (pattern: RegExp) => Promise<string> }>((resolve, reject) => {
			const sent = request({ host: '127.0.0.1', port, path: '/v1/events/stream', headers, agent: false }, (response) => {
				let text = '';
				let look = (): void => undefined;
				response.setEncoding('utf8').on('data', (chunk: string) => {
					text += chunk;
					look();
				});
				response.on('error', () => undefined);
				const until = (pattern: RegExp): Promise<string> =>
					new Promise((found) => {
						look = () => {
							if (pattern.test(text)) found(text);
						};
						look();
					});
				resolve({ status: response.statusCode ?? 0, end: () => response.destroy(), until });
			});
			sent.on('error', reject);
			sent.end();
		});
	events.add({ severity: 'info', kind: 'one', message: 'One.' });
	events.add({ severity: 'info', kind: 'two', message: 'Two.' });
	const first = await follow({ 'last-event-id': '1' });
	t.is(first.status, 200);
	events.add({ severity: 'error', kind: 'three', message: 'Three\nlines.' });
	const text = await first.until(/three/);
	t.regex(text, /^id: 2\nevent: two\ndata: \{"sequence":2,.*\}\n\nid: 3\nevent: three\ndata: \{.*Three\\nlines.*\}\n\n$/);
	const others = [];
	for (let count = 1; count < listenersMax; count++) others.push(await follow());
	t.is((await follow()).status, 503);
	first.end();
	for (;;) {
		const next = await follow();
		if (next.status === 200) break;
		await call('GET', '/v1/events');
	}
	for (const other of others) other.end();
});
