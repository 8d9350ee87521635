import test from 'ava';
import { VolumeSlot } from '../../src/appliance/volume-slot.ts';
import type { Completion, Outcome } from '../../src/blockvol/block-device.ts';
import { StandInVolume } from './stand-in.ts';

const identity = { uuid: '00000000-0000-4000-8000-000000000001', sizeBytes: 2 ** 20, blockSize: 512 as const };

class Note implements Completion {
	outcome: Outcome | undefined;
	complete(outcome: Outcome): void {
		this.outcome = outcome;
	}
}

test('commands wait while the volume is opened, and run in their order once it is there', async (t) => {
	const slot = new VolumeSlot(identity);
	const notes = Array.from({ length: 4 }, () => new Note());
	const data = Buffer.from('abcd');
	t.is(slot.tryRead(0, Buffer.alloc(512)), undefined);
	slot.write(0, data, true, notes[0]!);
	// The contract: short data was copied when write() returned.
	data.write('wxyz');
	slot.read(512, Buffer.alloc(512), notes[1]!);
	slot.zero(1024, 512, false, notes[2]!);
	slot.flush(notes[3]!);
	const compared = Object.assign(new Note(), { miscompareOffset: 0 });
	const [expected, fresh] = [Buffer.from('old1'), Buffer.from('new1')];
	slot.compareAndWrite(2048, expected, fresh, false, compared);
	expected.fill(0);
	fresh.fill(0);
	t.is(slot.state, 'opening');
	const volume = new StandInVolume(identity);
	slot.opened(volume);
	t.deepEqual(volume.calls, ['write 0 abcd true', 'read 512', 'zero 1024 512 false', 'flush', 'compareAndWrite 2048 old1 new1 false']);
	await Promise.resolve();
	t.deepEqual(
		notes.map((note) => note.outcome),
		['good', 'good', 'good', 'good'],
	);
	t.is(slot.state, 'online');
});

test('an open volume gets every call', async (t) => {
	const slot = new VolumeSlot(identity);
	const volume = new StandInVolume(identity);
	slot.opened(volume);
	const note = new Note();
	t.is(slot.tryRead(0, Buffer.alloc(512)), 'good');
	slot.read(0, Buffer.alloc(512), note);
	slot.write(0, Buffer.from('data'), false, note);
	slot.zero(0, 512, true, note);
	slot.flush(note);
	t.deepEqual(volume.calls, ['read 0', 'write 0 data false', 'zero 0 512 true', 'flush']);
});

test('when it cannot be opened, what waits and what follows ends with faulted, never inside the call', async (t) => {
	const slot = new VolumeSlot(identity);
	const [before, after] = [new Note(), new Note()];
	slot.flush(before);
	slot.failed('Both superblock slots are damaged.');
	t.is(before.outcome, 'faulted');
	t.is(slot.state, 'faulted');
	t.is(slot.fault, 'Both superblock slots are damaged.');
	t.is(slot.tryRead(0, Buffer.alloc(512)), 'faulted');
	slot.read(0, Buffer.alloc(512), after);
	t.is(after.outcome, undefined);
	await Promise.resolve();
	t.is(after.outcome, 'faulted');
});

test('after the end everything is closed, and the volume is handed back to be closed', async (t) => {
	const slot = new VolumeSlot(identity);
	const volume = new StandInVolume(identity);
	slot.opened(volume);
	t.is(slot.end(), volume);
	t.is(slot.end(), undefined);
	t.is(slot.tryRead(0, Buffer.alloc(512)), 'closed');
	const note = new Note();
	slot.write(0, Buffer.alloc(512), false, note);
	await Promise.resolve();
	t.is(note.outcome, 'closed');
	const waiting = new VolumeSlot(identity);
	const early = new Note();
	waiting.flush(early);
	t.is(waiting.end(), undefined);
	t.is(early.outcome, 'closed');
});

test('the size is the configuration’s until the volume says otherwise, and listeners are told', async (t) => {
	const slot = new VolumeSlot(identity);
	let told = 0;
	const end = slot.onResize(() => told++);
	t.is(slot.sizeBytes, 2 ** 20);
	const volume = new StandInVolume({ ...identity, sizeBytes: 2 ** 21 });
	slot.opened(volume);
	t.is(told, 1);
	t.is(slot.sizeBytes, 2 ** 21);
	await volume.resize(2 ** 22);
	t.is(told, 2);
	end();
	await volume.resize(2 ** 23);
	t.is(told, 2);
	t.is(slot.sizeBytes, 2 ** 23);
});

test('a volume that faults while it runs shows it', (t) => {
	const slot = new VolumeSlot(identity);
	const volume = new StandInVolume(identity);
	slot.opened(volume);
	volume.fault = 'An fsync failed.';
	t.is(slot.state, 'faulted');
	t.is(slot.fault, 'An fsync failed.');
});
