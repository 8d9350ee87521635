import test from 'ava';
import { busyPoll } from '../../src/wire/busy-poll.ts';

/** Turns of the event loop until nothing keeps it awake, as a timer sees them. */
async function immediatesWithin(ms: number): Promise<number> {
	let turns = 0;
	const until = performance.now() + ms;
	while (performance.now() < until) {
		await new Promise(setImmediate);
		turns++;
	}
	return turns;
}

test.serial('off: an arrival schedules nothing', async (t) => {
	busyPoll.configure(0);
	const before = process.getActiveResourcesInfo().filter((name) => name === 'Immediate').length;
	busyPoll.arrived();
	t.is(process.getActiveResourcesInfo().filter((name) => name === 'Immediate').length, before);
	await immediatesWithin(1);
});

test.serial('on: the loop is kept awake for the window after the last arrival, by one turn at a time, and then sleeps', async (t) => {
	busyPoll.configure(500);
	const count = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Immediate').length;
	const before = count();
	busyPoll.arrived();
	busyPoll.arrived();
	t.is(count(), before + 1);
	await new Promise((resolve) => setTimeout(resolve, 20));
	t.is(count(), before);
	busyPoll.configure(0);
});
