import test from 'ava';
import { Transmitter } from '../../src/wire/transmitter.ts';

const pageBytes = 4096;

/** A transmitter whose outlet takes everything, and the lengths of its writes. */
function transmitter(): { sender: Transmitter; writes: number[] } {
	const writes: number[] = [];
	const write = (pieces: readonly Uint8Array[]): boolean => {
		writes.push(pieces.reduce((sum, piece) => sum + piece.length, 0));
		return true;
	};
	return { sender: new Transmitter({ write }, { roomAgain: () => undefined }), writes };
}

function turn(sender: Transmitter, pdus: number, bytes = pageBytes): void {
	sender.hold();
	for (let pdu = 0; pdu < pdus; pdu++) {
		sender.reserve(bytes);
		sender.commit(bytes);
	}
	sender.letGo();
}

test('a turn of a few answers leaves by one write', (t) => {
	const { sender, writes } = transmitter();
	turn(sender, 1);
	turn(sender, 15);
	t.deepEqual(writes, [pageBytes, 15 * pageBytes]);
});

test('of a long turn 64 KiB leave at once and the rest at its end, in order', (t) => {
	const pieces: Buffer[] = [];
	const write = (given: readonly Uint8Array[]): boolean => pieces.push(Buffer.concat(given)) > 0;
	const sender = new Transmitter({ write }, { roomAgain: () => undefined });
	turn(sender, 1);
	sender.hold();
	for (let pdu = 0; pdu < 48; pdu++) {
		sender.reserve(pageBytes);
		sender.buffer.fill(pdu, sender.at, sender.at + pageBytes);
		sender.commit(pageBytes);
	}
	t.is(pieces.length, 2, 'one of them while the turn goes on');
	sender.letGo();
	t.deepEqual(
		pieces.slice(1).map(({ length }) => length / pageBytes),
		[16, 32],
	);
	const said = Buffer.concat(pieces.slice(1));
	for (let pdu = 0; pdu < 48; pdu++) t.is(said[pdu * pageBytes + 17], pdu);
});

test('nothing leaves early between the turns of other peers', (t) => {
	const [one, other] = [transmitter(), transmitter()];
	for (let round = 0; round < 2; round++) {
		turn(one.sender, 32);
		turn(other.sender, 32);
	}
	t.deepEqual([one.writes, other.writes], [Array(2).fill(32 * pageBytes), Array(2).fill(32 * pageBytes)]);
});

test('nor do long PDUs', (t) => {
	const { sender, writes } = transmitter();
	turn(sender, 1);
	turn(sender, 2, 128 * 1024);
	t.deepEqual(writes, [pageBytes, 2 * 128 * 1024]);
});
