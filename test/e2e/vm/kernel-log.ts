import type { Faults } from './scenario.ts';

/** What a kernel says when a disk, or a file system on it, has let it down. */
const mediumComplaints =
	/I\/O error|Medium Error|Hardware Error|Aborted Command|critical (?:target|medium|space|nexus) error|lost (?:async|sync) page write|EXT4-fs (?:error|warning)|XFS.*(?:corrupt|error|Shutting down)|BTRFS (?:error|critical|warning)|JBD2: .*error|offline(?:d|ing)|rejecting I\/O|Bad target|FAILED Result|failing I\/O/i;
/** What it says when the connection let it down, or something in the guest hung. */
const connectionComplaints =
	/detected conn error|session recovery timed out|ping timeout|abort|reset (?:WARN|succeeded|failed)|target reset|nvme\d+: .*(?:timeout|fail|recovery|reconnect|rejected|not allowed|error)/i;
/** Never right, whatever a scenario does. */
const kernelComplaints =
	/hung_task|blocked for more than|BUG:|Oops|general protection|WARNING: CPU|rcu.*stall|soft lockup|protocol error|invalid/i;
/** Words of a healthy guest that look like the above. */
const harmless = /tsc: |clocksource|invalid(?:ate|ating)? ?(?:user|BTF)|systemd-udevd/i;

/** The lines of a kernel log that a scenario with these faults must not have. */
export function complaints(log: string, faults: Faults): string[] {
	const patterns = [
		kernelComplaints,
		...(faults === 'none' ? [connectionComplaints] : []),
		...(faults === 'medium' ? [] : [mediumComplaints]),
	];
	return log.split('\n').filter((line) => !harmless.test(line) && patterns.some((pattern) => pattern.test(line)));
}
