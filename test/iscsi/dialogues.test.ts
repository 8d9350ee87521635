import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { parsePortal } from '../../src/config/endpoint.ts';
import type { ChapAccess } from '../../src/iscsi/chap.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { loginRequest, type Peer, World } from './peer.ts';

/*
 * Each file of dialogues/ is a conversation. `>` is a request, `<` what the target must answer, word for word; indented lines are the text of a PDU; `#` is a
 * comment. A request `> Login` takes csg, nsg, t, c, tsih, isid, cid, cmdsn, tag, min; `> Text` f, c, ttt, tag. `= closed` and `= open` ask for the connection's
 * state, `= stranger NAME` bars an initiator, `= chap USER SECRET [USER SECRET]` asks for CHAP and `= discovery-chap …` in discovery (`none`: no longer), `= redirect ADDRESS
 * [permanent]` or `none`, `= portals HOST:PORT[,TAG] …`, `= group TAG` puts the connections that follow into a portal group, `= reached
 * ADDRESS` has them come by that address, `= another` begins a second connection in the same world.
 */
const folder = new URL('dialogues/', import.meta.url);

for (const name of readdirSync(folder)) {
	test(`dialogue ${name.replace('.txt', '')}`, async (t) => {
		const world = new World();
		let peer = world.connect();
		let group: number | undefined;
		let reached: string | undefined;
		let answers: string[] = [];
		for (const [index, step] of steps(readFileSync(new URL(name, folder), 'utf8')).entries()) {
			const where = `step ${index + 1}: ${step.head}`;
			const kind = step.head.slice(0, 1);
			const words = step.head.slice(2).split(' ');
			if (kind === '>') {
				t.deepEqual(answers, [], `${where}: an answer before it was not expected`);
				peer.send(request(peer, words, step.keys));
				answers = (await peer.answers()).map((answer) => show(answer.bhs, answer.data));
			} else if (kind === '<') t.is(answers.shift(), [step.head.slice(2), ...step.keys].join('\n  '), where);
			else if (words[0] === 'closed' || words[0] === 'open') t.is(peer.closed, words[0] === 'closed', where);
			else if (words[0] === 'stranger') world.strangers.add(words[1]!);
			else if (words[0] === 'draining') world.environment.accepting = false;
			else if (words[0] === 'chap') world.chap = chapOf(words);
			else if (words[0] === 'discovery-chap') world.discoveryChap = chapOf(words);
			else if (words[0] === 'redirect')
				world.redirection = words[1] === 'none' ? undefined : { address: words[1]!, permanent: words[2] === 'permanent' };
			else if (words[0] === 'portals')
				world.environment.portals = words.slice(1).map((text) => parsePortal(text, { host: '', port: 0 }, 'portals'));
			else if (words[0] === 'group') group = Number(words[1]);
			else if (words[0] === 'reached') reached = words[1]!;
			else if (words[0] === 'another') {
				peer = world.connect();
				peer.portalGroupTag = group;
				if (reached !== undefined) peer.localAddress = reached;
			} else t.fail(`${where}: not understood`);
		}
		t.deepEqual(answers, [], 'an answer at the end was not expected');
	});
}

function chapOf([, user, secret, targetUser, targetSecret]: readonly string[]): ChapAccess | undefined {
	if (user === undefined || secret === undefined) return undefined;
	const target = targetUser === undefined || targetSecret === undefined ? undefined : { user: targetUser, secret: targetSecret };
	return { initiator: { user, secret }, target };
}

interface Step {
	head: string;
	keys: string[];
}

function steps(script: string): Step[] {
	const found: Step[] = [];
	for (const line of script.split('\n')) {
		if (line.trim() === '' || line.startsWith('#')) continue;
		if (line.startsWith('  ')) found.at(-1)!.keys.push(line.trim());
		else found.push({ head: line.trim(), keys: [] });
	}
	return found;
}

function request(peer: Peer, words: readonly string[], keys: readonly string[]): Buffer {
	const field = (name: string): string | undefined => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
	const number = (name: string, otherwise: number): number => Number(field(name) ?? otherwise);
	// A text that ends in a backslash goes on in the next PDU without a NUL.
	const data = Buffer.from(
		keys
			.map((key) => (key.endsWith('\\') ? key.slice(0, -1) : `${key}\0`))
			.join('')
			.replace(/x\*(\d+)/g, (_, count: string) => 'x'.repeat(Number(count))),
	);
	switch (words[0]) {
		case 'Login': {
			const isid = field('isid');
			peer.cmdSN = number('cmdsn', 1);
			return peer.pdu(
				loginRequest({
					currentStage: number('csg', 1),
					nextStage: number('nsg', 0),
					transit: number('t', 0) === 1,
					more: number('c', 0) === 1,
					tsih: number('tsih', 0),
					cid: number('cid', 0),
					cmdSN: number('cmdsn', 1),
					tag: number('tag', 0),
					versionMin: number('min', 0),
					...(isid === undefined ? {} : { isid }),
				}),
				data,
			);
		}
		case 'Text':
			return peer.request(
				pdu.opcode.textRequest,
				(number('f', 1) << 7) | (number('c', 0) << 6),
				{ 16: number('tag', 1), 20: number('ttt', pdu.noTag) },
				data,
			);
		case 'Logout':
			return peer.request(pdu.opcode.logoutRequest | pdu.immediateBit, 0x80 | number('reason', 0), {
				16: number('tag', 2),
				20: number('cid', 0) << 16,
			});
		case 'NOP-Out':
			return peer.request(pdu.opcode.nopOut | pdu.immediateBit, 0x80, { 16: number('tag', 3), 20: pdu.noTag }, data);
		case 'SCSI':
			return peer.command({ cdb: field('cdb') ?? '00', tag: number('tag', 4) });
		default:
			throw new Error(`a request ${words.join(' ')}`);
	}
}

function show(bhs: Buffer, data: Buffer): string {
	const lines = data
		.toString('latin1')
		.split('\0')
		.filter((line) => line !== '');
	const tag = (at: number): string => (bhs.readUInt32BE(at) === pdu.noTag ? 'none' : String(bhs.readUInt32BE(at)));
	switch (bhs[0]! & 0x3f) {
		case pdu.opcode.loginResponse: {
			const status = bhs.toString('hex', 36, 38);
			const stages = `csg=${(bhs[1]! >> 2) & 3} nsg=${bhs[1]! & 3} t=${bhs[1]! >> 7}${(bhs[1]! & 0x40) === 0 ? '' : ' c=1'}`;
			const window = `expcmdsn=${bhs.readUInt32BE(28)} maxcmdsn=${bhs.readUInt32BE(32)}`;
			return [
				status === '0000'
					? `Login ${stages} tsih=${bhs.readUInt16BE(14)} statsn=${bhs.readUInt32BE(24)} ${window}`
					: `Login status=${status}`,
				...lines,
			].join('\n  ');
		}
		case pdu.opcode.textResponse:
			return [`Text f=${bhs[1]! >> 7} c=${(bhs[1]! >> 6) & 1} ttt=${tag(20)}`, ...lines].join('\n  ');
		case pdu.opcode.logoutResponse:
			return `Logout response=${bhs[2]!}`;
		case pdu.opcode.nopIn:
			return [`NOP-In tag=${tag(16)} ttt=${tag(20)}`, ...lines].join('\n  ');
		case pdu.opcode.reject:
			return `Reject reason=${bhs[2]!}`;
		case pdu.opcode.scsiResponse:
			return `SCSI status=${bhs[3]!}`;
		default:
			return bhs.toString('hex');
	}
}
