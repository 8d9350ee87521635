import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { type Answer, keysOf, type Peer, targetName, text, World } from './peer.ts';

const open = (answer: Answer): boolean => (answer.bhs[1]! & 0x80) === 0;
const goesOn = (answer: Answer): boolean => (answer.bhs[1]! & 0x40) !== 0;
const transferTag = (answer: Answer): number => pdu.TextResponse.targetTransferTag.get(answer.bhs, 0);

/** A world with so many targets more, in discovery. */
async function discovery(count: number, name: (index: number) => string, keys: Record<string, string> = {}): Promise<Peer> {
	const world = new World();
	const targets = Array.from({ length: count }, (_, index) => new ScsiTarget(name(index)));
	Object.assign(world.environment.registry, { visibleTo: () => targets });
	const peer = world.connect();
	await peer.login(keys, { discovery: true });
	return peer;
}

async function ask(peer: Peer, keys: Record<string, string>, tag = pdu.noTag, flags = 0x80): Promise<Answer> {
	peer.send(peer.request(pdu.opcode.textRequest, flags, { 16: 5, 20: tag }, text(keys)));
	return await peer.answer();
}

test('§11.11, §6.2: an answer that is longer than the initiator takes in one PDU is fetched in parts, each with a new tag', async (t) => {
	const peer = await discovery(40, (index) => `iqn.2026-11.test:${index}`, { MaxRecvDataSegmentLength: '512' });
	const parts = [await ask(peer, { SendTargets: 'All' })];
	const tags = new Set<number>();
	while (goesOn(parts.at(-1)!)) {
		t.true(open(parts.at(-1)!));
		tags.add(transferTag(parts.at(-1)!));
		parts.push(await ask(peer, {}, transferTag(parts.at(-1)!)));
	}
	t.false(open(parts.at(-1)!));
	t.is(transferTag(parts.at(-1)!), pdu.noTag);
	t.is(tags.size, parts.length - 1);
	t.true(parts.length > 3 && parts.every(({ data }) => data.length <= 512));
	const whole = Buffer.concat(parts.map(({ data }) => data)).toString();
	t.deepEqual(
		[...whole.matchAll(/TargetName=(?<name>[^\0]*)\0TargetAddress=192\.0\.2\.1:3260,1\0/g)].map(({ groups }) => groups?.['name']),
		Array.from({ length: 40 }, (_, index) => `iqn.2026-11.test:${index}`),
	);
});

test('text while an answer is under way, or a new question: the first is rejected, the second begins anew', async (t) => {
	const peer = await discovery(40, (index) => `iqn.2026-11.test:${index}`, { MaxRecvDataSegmentLength: '512' });
	const first = await ask(peer, { SendTargets: 'All' });
	t.is((await ask(peer, { SendTargets: 'All' }, transferTag(first))).opcode, pdu.opcode.reject);
	t.is((await ask(peer, {}, transferTag(first))).opcode, pdu.opcode.reject, 'the answer is gone with it');
	t.true(goesOn(await ask(peer, { SendTargets: 'All' })));
	const other = await ask(peer, { SendTargets: 'iqn.2026-11.test:7' });
	t.deepEqual(keysOf(other.data), { TargetName: 'iqn.2026-11.test:7', TargetAddress: '192.0.2.1:3260,1' });
});

test('limits.textAnswerBytes: as many targets as there may be, with the longest names, at as many portals of IPv6 as there may be', async (t) => {
	const name = (index: number) => `iqn.2026-11.test:${'x'.repeat(203)}${String(index).padStart(3, '0')}`;
	t.is(Buffer.byteLength(name(0)), limits.iscsiNameBytes);
	const peer = await discovery(256, name, { MaxRecvDataSegmentLength: '65536' });
	const host = (index: number) => `2001:0db8:0000:0000:0000:0000:0000:10${String(index).padStart(2, '0')}`;
	peer.world.environment.portals = Array.from({ length: limits.portals }, (_, index) => ({ host: host(index), port: 32600 + index }));
	let bytes = 0;
	let answer = await ask(peer, { SendTargets: 'All' });
	for (bytes += answer.data.length; goesOn(answer); bytes += answer.data.length) answer = await ask(peer, {}, transferTag(answer));
	t.is(answer.opcode, pdu.opcode.textResponse);
	t.true(bytes > 256 * 16 * 60 && bytes <= limits.textAnswerBytes, `${bytes} bytes`);
});

test('limits.textBytes: a question over many PDUs that never ends is rejected, and the session goes on', async (t) => {
	const peer = await discovery(1, () => 'iqn.2026-11.test:0');
	let answer = await ask(peer, { 'X-1': 'x'.repeat(8000) }, pdu.noTag, 0x40);
	for (let part = 2; answer.opcode === pdu.opcode.textResponse; part++) {
		t.true(part * 8000 <= limits.textBytes + 8000);
		answer = await ask(peer, { [`X-${part}`]: 'x'.repeat(8000) }, transferTag(answer), 0x40);
	}
	t.is(answer.opcode, pdu.opcode.reject);
	t.is(keysOf((await ask(peer, { SendTargets: 'All' })).data)['TargetName'], 'iqn.2026-11.test:0');
});

test('§13.7, §13.9: alias and portal group tag of the target are in the first response', async (t) => {
	const world = new World();
	const target = new ScsiTarget(targetName, { alias: 'One', targetPortalGroupTag: 7 });
	Object.assign(world.environment.registry, { find: () => target });
	const peer = world.connect();
	t.like(keysOf((await peer.login()).data), { TargetPortalGroupTag: '7', TargetAlias: 'One' });
	t.deepEqual(keysOf((await ask(peer, { SendTargets: '' })).data), { TargetName: targetName, TargetAddress: '192.0.2.1:3260,7' });
});
