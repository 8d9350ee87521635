import { limits } from './limits.ts';

export const templateDefault = '{schedule}-{utc:YYYYMMDD-HHmmss}';

const part = /\{(?<field>schedule|utc)(?::(?<format>[^{}]*))?\}/g;
const snapshotName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** What a snapshot may be called: letters, digits, `.`, `_` and `-`, the first a letter or digit. */
export function isSnapshotName(name: string): boolean {
	return name.length <= limits.snapshotNameLength && snapshotName.test(name);
}

/** Why something is no template; undefined if it is one. */
export function templateFault(template: string, schedule: string): string | undefined {
	if (template.length > limits.templateLength) return `A template of names has at most ${limits.templateLength} characters.`;
	const fields = [...template.matchAll(part)];
	if (!fields.some(({ groups }) => groups?.['field'] === 'utc')) {
		return `The template ${JSON.stringify(template)} gives every snapshot one name: put {utc:YYYYMMDD-HHmmss} in it.`;
	}
	if (fields.some(({ groups }) => groups?.['field'] === 'schedule' && groups['format'] !== undefined))
		return 'A template has {schedule} without more.';
	const name = expand(template, schedule, 0);
	if (snapshotName.test(name) && name.length <= limits.snapshotNameLength - limits.suffixLength) return undefined;
	return `The template ${JSON.stringify(template)} makes no names of at most ${limits.snapshotNameLength - limits.suffixLength} letters, digits, '.', '_' and '-': ${JSON.stringify(name.slice(0, 80))}.`;
}

/** The name for a moment: `{schedule}`, and `{utc:…}` with YYYY, MM, DD, HH, mm and ss. */
export function expand(template: string, schedule: string, ms: number): string {
	const text = new Date(ms).toISOString();
	const digits: Record<string, string> = {
		YYYY: text.slice(0, 4),
		MM: text.slice(5, 7),
		DD: text.slice(8, 10),
		HH: text.slice(11, 13),
		mm: text.slice(14, 16),
		ss: text.slice(17, 19),
	};
	return template.replace(part, (_all, field: string, format: string | undefined) =>
		field === 'schedule' ? schedule : (format ?? 'YYYYMMDD-HHmmss').replaceAll(/YYYY|MM|DD|HH|mm|ss/g, (token) => digits[token] ?? token),
	);
}

/** The name for a moment, with `-2`, `-3`, … behind it when it is taken. */
export function freeName(name: string, isTaken: (name: string) => boolean): string {
	let free = name;
	for (let number = 2; isTaken(free); number++) free = `${name}-${number}`;
	return free;
}
