import { parseCron } from './cron-expression.ts';
import { CronTimes } from './cron-times.ts';
import { limits } from './limits.ts';
import { templateFault } from './name-template.ts';
import { type Keep, keepRules } from './retention.ts';
import { isZone } from './zone.ts';

/** What a schedule is to do. */
export interface Policy {
	readonly name: string;
	/** Five fields or a nickname. */
	readonly cron: string;
	/** IANA name of the time zone that the cron expression and the calendar of the rules mean. */
	readonly zone: string;
	readonly template: string;
	readonly keep: Keep;
}

/** Why a policy cannot be followed, in one sentence; undefined if it can. The name is the caller's to check. */
export function policyFault(policy: Policy): string | undefined {
	const cron = parseCron(policy.cron);
	if ('fault' in cron) return cron.fault;
	if (!isZone(policy.zone))
		return `${JSON.stringify(policy.zone.slice(0, 80))} is no time zone that this system knows: it looks like UTC or Europe/Berlin.`;
	if (new CronTimes(policy.cron, policy.zone).after(0) === undefined) return `The day of ${JSON.stringify(policy.cron)} never comes.`;
	return keepFault(policy.keep) ?? templateFault(policy.template, policy.name);
}

function keepFault(keep: Keep): string | undefined {
	let total = 0;
	for (const rule of keepRules) {
		const count = keep[rule];
		if (!Number.isInteger(count) || count < 0) return `How many snapshots are kept is a whole number, not ${count} (${rule}).`;
		total += count;
	}
	if (total === 0) return 'A schedule says how many snapshots it keeps: at least one of last, hourly, daily, weekly, monthly and yearly.';
	if (total > limits.keepTotal) return `A schedule keeps at most ${limits.keepTotal} snapshots of a volume, not ${total}.`;
	return undefined;
}
