import { limits } from './limits.ts';

/** crontab(5): minute, hour, day of month, month, day of week; 7 is Sunday too. */
const fields = [
	{ name: 'minute', min: 0, max: 59, names: [] },
	{ name: 'hour', min: 0, max: 23, names: [] },
	{ name: 'day of month', min: 1, max: 31, names: [] },
	{ name: 'month', min: 1, max: 12, names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'] },
	{ name: 'day of week', min: 0, max: 7, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
] as const;

const nicknames: Readonly<Record<string, string>> = {
	'@hourly': '0 * * * *',
	'@daily': '0 0 * * *',
	'@midnight': '0 0 * * *',
	'@weekly': '0 0 * * 0',
	'@monthly': '0 0 1 * *',
	'@yearly': '0 0 1 1 *',
	'@annually': '0 0 1 1 *',
};

/** The five fields of a cron expression, a nickname resolved; or the sentence that says what is wrong with it. */
export function parseCron(text: string): { fields: string } | { fault: string } {
	if (text.length > limits.cronLength) return { fault: `A cron expression has at most ${limits.cronLength} characters.` };
	const trimmed = text.trim();
	if (trimmed.startsWith('@')) {
		const named = nicknames[trimmed.toLowerCase()];
		return named === undefined
			? { fault: `${JSON.stringify(trimmed)} is no nickname: there are ${Object.keys(nicknames).join(', ')}.` }
			: { fields: named };
	}
	const parts = trimmed.split(/\s+/);
	if (parts.length !== fields.length) {
		return {
			fault: 'A cron expression has five fields (minute, hour, day of month, month, day of week), or is a nickname such as @hourly.',
		};
	}
	for (const [index, field] of fields.entries()) {
		const part = parts[index] ?? '';
		const bad = part.split(',').find((item) => !isItem(item, field));
		if (bad === undefined) continue;
		const what = field.names.length === 0 ? '' : `, or ${field.names[0]} to ${field.names.at(-1)}`;
		return {
			fault: `${JSON.stringify(bad)} is nothing that the ${field.name} may be: it takes ${field.min} to ${field.max}${what}, *, ranges as 1-5, steps as */2, and lists of those.`,
		};
	}
	return { fields: parts.join(' ').toLowerCase() };
}

/** `*`, a value, a range, and a step behind `*` or a range. */
function isItem(item: string, field: (typeof fields)[number]): boolean {
	const parts = /^(?:(?<all>\*)|(?<from>\w+)(?:-(?<to>\w+))?)(?:\/(?<step>\d{1,2}))?$/.exec(item)?.groups;
	if (parts === undefined) return false;
	const { all, from, to, step } = parts;
	if (step !== undefined && (Number(step) < 1 || Number(step) > field.max || (all === undefined && to === undefined))) return false;
	if (all !== undefined) return true;
	const first = valueOf(from ?? '', field);
	const last = to === undefined ? first : valueOf(to, field);
	return first !== undefined && last !== undefined && first <= last;
}

function valueOf(text: string, field: (typeof fields)[number]): number | undefined {
	const named = (field.names as readonly string[]).indexOf(text.toLowerCase());
	// The first month is 1, the first day of the week 0.
	if (named >= 0) return named + field.min;
	if (!/^\d{1,2}$/.test(text)) return undefined;
	const value = Number(text);
	return value >= field.min && value <= field.max ? value : undefined;
}
