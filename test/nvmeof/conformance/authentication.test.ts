import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import test from 'ava';
import type { AuthGroup } from '../../../src/nvmeof/auth-group.ts';
import type { AuthHash } from '../../../src/nvmeof/auth-hash.ts';
import { DhchapKey } from '../../../src/nvmeof/auth-key.ts';
import { defaultHostNQN } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { authenticate } from '../auth/authenticate.ts';
import { content, World } from './world.ts';

const guarded = 'nqn.2026-11.dev.blockport.test:guarded';
const hostSecret = randomBytes(32);
const controllerSecret = randomBytes(32);
const identity = { hostNQN: defaultHostNQN, subsystemNQN: guarded, key: hostSecret };

function keyOf(secret: Buffer): DhchapKey {
	const sum = Buffer.alloc(4);
	sum.writeUInt32LE(crc32(secret));
	return DhchapKey.parse(`DHHC-1:00:${Buffer.concat([secret, sum]).toString('base64')}:`);
}

function guard(world: World, hash: AuthHash, dhGroup: AuthGroup): void {
	const secrets = { host: keyOf(hostSecret), controller: keyOf(controllerSecret), hash, dhGroup };
	world.addSubsystem(guarded, () => true, secrets).addNamespace(1, new MemoryDevice({ uuid: world.newUUID() }));
}

for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
	for (const dhGroup of ['null', 'ffdhe2048', 'ffdhe3072'] as const) {
		for (const mutual of [false, true]) {
			test(`${hash} with ${dhGroup}, ${mutual ? 'both ways' : 'one way'}: every queue authenticates, then reads what it wrote, with digests`, async (t) => {
				const world = await World.open(t);
				guard(world, hash, dhGroup);
				const association = await world.connect({
					subnqn: guarded,
					ioQueues: 2,
					headerDigest: true,
					dataDigest: true,
					authenticate: authenticate(identity, mutual ? controllerSecret : undefined),
				});
				t.not(association.connectResult & 0x60000, 0, 'AUTHREQ');
				const namespace = await Namespace.attach(association, 1);
				for (const queueIndex of [0, 1]) {
					const data = content(65_536, queueIndex);
					await namespace.write(0, data, { queueIndex });
					t.true((await namespace.read(0, 128, queueIndex)).equals(data));
				}
			});
		}
	}
}

test('before authentication everything but authentication is refused, on the admin queue and on I/O queues', async (t) => {
	const world = await World.open(t);
	guard(world, 'sha256', 'null');
	const association = await world.connect({ subnqn: guarded, connectOnly: true });
	for (const fill of [
		(sqe: Buffer) => commands.propertyGet(sqe, 0, true),
		(sqe: Buffer) => commands.propertySet(sqe, 0x14, 0x00460001),
		(sqe: Buffer) => commands.identify(sqe, 1),
		(sqe: Buffer) => commands.keepAlive(sqe),
	]) {
		t.is((await association.admin.execute(fill)).status, 0x191);
	}
	await authenticate(identity)(association.admin);
	await association.enable();
	const queue = await association.addQueue(1);
	const refused = await queue.execute((sqe) => commands.range(sqe, commands.ioOpcode.read, 1, 0, 1), { dataInBytes: 512 });
	t.is(refused.status, 0x191, 'its admin queue’s authentication is not its own');
	await authenticate(identity)(queue);
	t.is((await queue.execute((sqe) => commands.range(sqe, commands.ioOpcode.read, 1, 0, 1), { dataInBytes: 512 })).status, 0);
});

test('a wrong secret: the exchange says why, and the connection ends; a right one on the next is good', async (t) => {
	const world = await World.open(t);
	guard(world, 'sha512', 'ffdhe2048');
	const wrong = { ...identity, key: randomBytes(32) };
	await t.throwsAsync(world.connect({ subnqn: guarded, authenticate: authenticate(wrong) }), { message: /explanation 1/ });
	await world.until(() => world.fabric.controllers().length === 0);
	await world.connect({ subnqn: guarded, authenticate: authenticate(identity) });
	t.is(world.fabric.controllers().length, 1);
});

const refusals: Record<string, (sqe: Buffer) => void> = {
	'another security protocol': (sqe) => {
		commands.authenticationReceive(sqe, 4096);
		sqe[43] = 0xea;
	},
	'another SPSP': (sqe) => {
		commands.authenticationReceive(sqe, 4096);
		sqe[42] = 2;
	},
	'an allocation length of 0': (sqe) => commands.authenticationReceive(sqe, 0),
};
for (const [what, fill] of Object.entries(refusals)) {
	test(`Authentication Receive with ${what}: Invalid Field, and the exchange can still be made`, async (t) => {
		const world = await World.open(t);
		guard(world, 'sha256', 'null');
		const association = await world.connect({ subnqn: guarded, connectOnly: true });
		t.is((await association.admin.execute(fill, { dataInBytes: 4096 })).status, 0x002);
		await authenticate(identity)(association.admin);
		await association.enable();
	});
}

test('authentication where none is asked for, and a Receive before a Send', async (t) => {
	const world = await World.open(t);
	guard(world, 'sha256', 'null');
	const open = await world.connect();
	t.is((await open.admin.execute((sqe) => commands.authenticationReceive(sqe, 4096), { dataInBytes: 4096 })).status, 0x002);
	const association = await world.connect({ subnqn: guarded, connectOnly: true });
	const early = await association.admin.execute((sqe) => commands.authenticationReceive(sqe, 4096), { dataInBytes: 4096 });
	t.is(early.status, 0x00c);
});
