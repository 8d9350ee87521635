import test from 'ava';
import { BusyPoll } from '../../src/wire/busy-poll.ts';

const immediates = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Immediate').length;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One whose clock stands still between the steps of a test. */
function pollWithClock(window: number | 'adaptive'): { poll: BusyPoll; pass: (us: number) => void } {
	let nowMs = 0;
	const poll = new BusyPoll(() => nowMs);
	poll.configure(window);
	return {
		poll,
		pass(us) {
			nowMs += us / 1000;
		},
	};
}

test.serial('off: an arrival schedules nothing', (t) => {
	const before = immediates();
	pollWithClock(0).poll.arrived();
	t.is(immediates(), before);
});

test.serial('on: the loop is kept awake for the window after the last arrival, by one turn at a time, and then sleeps', async (t) => {
	const { poll, pass } = pollWithClock(500);
	const before = immediates();
	poll.arrived();
	poll.arrived();
	t.is(immediates(), before + 1);
	pass(499);
	poll.arrived();
	pass(499);
	await turn();
	t.is(immediates(), before + 1);
	pass(1);
	await turn();
	t.is(immediates(), before);
});

test.serial('adaptive: who does not come in time is soon waited for no more, but for a try in 64', async (t) => {
	const { poll, pass } = pollWithClock('adaptive');
	const before = immediates();
	/** An arrival that nothing follows; whether the loop stayed awake for it. */
	const late = async (): Promise<boolean> => {
		poll.arrived();
		const stayed = immediates() > before;
		pass(1000);
		await turn();
		t.is(immediates(), before);
		return stayed;
	};
	let tries = 0;
	while (await late()) tries++;
	t.is(tries, 4);
	let tried = 0;
	for (let arrivals = 0; arrivals < 640; arrivals++) if (await late()) tried++;
	t.is(tried, 10);
});

test.serial('adaptive: when requests come in time again, the loop stays awake for each', async (t) => {
	const { poll, pass } = pollWithClock('adaptive');
	const before = immediates();
	for (let arrivals = 0; arrivals < 1000; arrivals++) {
		poll.arrived();
		pass(1000);
		await turn();
	}
	t.is(immediates(), before);
	// The next try finds requests that follow each other closely.
	for (let arrivals = 0; arrivals < 64 + 16; arrivals++) {
		poll.arrived();
		pass(49);
	}
	t.is(immediates(), before + 1);
	pass(1000);
	await turn();
	poll.arrived();
	t.is(immediates(), before + 1, 'one that came late does not undo it');
	pass(1000);
	await turn();
	t.is(immediates(), before);
});
