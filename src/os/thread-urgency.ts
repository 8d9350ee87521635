import { getPriority, setPriority } from 'node:os';
import koffi from 'koffi';

/**
 * How soon the kernel lets a thread run that has something to do, where others want the same core (docs/decisions/019).
 *
 * - low: a tenth of what an ordinary thread gets beside it. Who wakes up still waits until its turn is over, up to a tick of the clock (4 ms at 250 Hz).
 * - background: what others leave. It makes room at once when one of them wakes up, and gets hardly anything while they take all.
 */
export type ThreadUrgency = 'low' | 'background';

const SCHED_IDLE = 5;
const lowNiceness = 10;
const scheduler = koffi.load(null).func('int sched_setscheduler(int thread, int policy, void *parameters)');

/**
 * Sets it for the calling thread, and for threads that it starts later; false where the kernel cannot. There is no way back up from there without privileges, but a thread that another one starts begins where
 * that one is.
 */
export function setThreadUrgency(urgency: ThreadUrgency): boolean {
	// Elsewhere a priority is that of the process.
	if (process.platform !== 'linux') return false;
	// Priority 0, the only one that there is outside real time.
	if (urgency === 'background' && Number(scheduler(0, SCHED_IDLE, Buffer.alloc(4))) === 0) return true;
	// On Linux 0 is the calling thread here.
	if (getPriority() < lowNiceness) setPriority(lowNiceness);
	return urgency === 'low';
}
