import { keys, type KeyRow } from './keys.ts';
import { limits } from './limits.ts';
import type { Parameters } from './parameters.ts';
import { ProtocolError } from './protocol-error.ts';
import type { KeyValue } from './text.ts';

export type Phase = 'security' | 'operational' | 'fullFeature';

/**
 * Settles keys for one connection: key by key, what the initiator says goes into `parameters` and our answer comes back.
 *
 * Invariant: a key is settled at most once during login (§6.3: "an initiator or target MUST NOT negotiate a parameter more than once").
 */
export class Negotiation {
	readonly parameters: Parameters;
	/** Keys that the initiator declared, for the login machine to look at. */
	readonly declared = new Map<string, string>();
	readonly #settled = new Set<string>();
	#discovery = false;
	#leading = true;
	#authMethod = 'None';

	constructor(parameters: Parameters) {
		this.parameters = parameters;
	}

	/** Session-wide keys are irrelevant for discovery, and are said by the leading connection only. Which AuthMethod is taken is not for the initiator to say. */
	kind(kind: { discovery: boolean; leading: boolean; authMethod?: 'None' | 'CHAP' }): void {
		this.#discovery = kind.discovery;
		this.#leading = kind.leading;
		this.#authMethod = kind.authMethod ?? 'None';
	}

	wasSettled(key: string): boolean {
		return this.#settled.has(key);
	}

	/** Answers to a whole text of one phase. Throws ProtocolError for a key that comes twice or a declaration out of bounds. */
	settle(pairs: readonly KeyValue[], phase: Phase): KeyValue[] {
		const said = new Set<string>();
		const answers: KeyValue[] = [];
		for (const [key, value] of inOrder(pairs)) {
			if (said.has(key) || (phase !== 'fullFeature' && this.#settled.has(key))) throw new ProtocolError(`${key} comes twice`);
			said.add(key);
			if (phase !== 'fullFeature') this.#settled.add(key);
			const answer = this.#answer(key, value, phase);
			if (answer !== undefined) answers.push([key, answer]);
		}
		// §13.14: FirstBurstLength must not exceed MaxBurstLength, also when one of them was left at its default.
		this.parameters.firstBurstLength = Math.min(this.parameters.firstBurstLength, this.parameters.maxBurstLength);
		return answers;
	}

	#answer(key: string, value: string, phase: Phase): string | undefined {
		const row = Object.hasOwn(keys, key) ? keys[key] : undefined;
		if (row === undefined) return 'NotUnderstood';
		if (!allowed(row, phase)) return row.how === 'declared' ? undefined : 'Reject';
		if (row.inDiscovery === 'irrelevant' && this.#discovery) return 'Irrelevant';
		if (row.scope === 'session' && !this.#leading && row.how !== 'declared') return 'Reject';
		const parameters = this.parameters;
		switch (row.how) {
			case 'list': {
				const values = key === 'AuthMethod' ? [this.#authMethod] : row.values;
				const chosen = value.split(',').find((offered) => values.includes(offered));
				if (chosen === undefined) return 'Reject';
				row.apply(parameters, chosen);
				return chosen;
			}
			case 'minimum':
			case 'maximum': {
				const offered = parseNumber(value, row.range);
				if (offered === undefined) return 'Reject';
				let result = row.how === 'minimum' ? Math.min(offered, row.ours) : Math.max(offered, row.ours);
				if (row.parameter === 'firstBurstLength') result = Math.min(result, parameters.maxBurstLength);
				parameters[row.parameter] = result;
				return String(result);
			}
			case 'and':
			case 'or': {
				if (value !== 'Yes' && value !== 'No') return 'Reject';
				const offered = value === 'Yes';
				const result = row.how === 'and' ? offered && row.ours : offered || row.ours;
				parameters[row.parameter] = result;
				return result ? 'Yes' : 'No';
			}
			case 'declaredNumber': {
				const declared = parseNumber(value, row.range);
				// A declaration has no answer that could refuse it, and ours would stand beside it under the same name.
				if (declared === undefined) throw new ProtocolError(`${key} out of range`);
				parameters[row.parameter] = declared;
				return undefined;
			}
			case 'declared':
				if (value === '' || Buffer.byteLength(value) > row.bytesMax) throw new ProtocolError(`${key} of ${value.length} characters`);
				this.declared.set(key, value);
				return undefined;
			case 'question':
				this.declared.set(key, value);
				return undefined;
			case 'ours':
				throw new ProtocolError(`${key} is for the target to say`);
			case 'obsolete':
				return row.answer;
			default:
				return row satisfies never;
		}
	}
}

/** MaxRecvDataSegmentLength, which each side declares for itself. */
export const ourDeclaration: KeyValue = ['MaxRecvDataSegmentLength', String(limits.maxRecvDataSegmentLength)];

function allowed(row: KeyRow, phase: Phase): boolean {
	switch (row.use) {
		case 'any':
			return true;
		case 'security':
			return phase === 'security';
		case 'operational':
			// Strictly for the operational stage; an initiator that goes from security to full feature in one step has no other place for them.
			return phase !== 'fullFeature';
		case 'login':
			return phase !== 'fullFeature';
		case 'fullFeature':
			return phase === 'fullFeature';
		default:
			return row.use satisfies never;
	}
}

/** MaxBurstLength bounds FirstBurstLength, so it goes first whichever way they came. */
function inOrder(pairs: readonly KeyValue[]): readonly KeyValue[] {
	const first = pairs.findIndex(([key]) => key === 'FirstBurstLength');
	if (first < 0 || !pairs.some(([key], index) => key === 'MaxBurstLength' && index > first)) return pairs;
	return [...pairs.slice(0, first), ...pairs.slice(first + 1), pairs[first]!];
}

/** §6.1: decimal or 0x and hexadecimal digits. undefined if it is no number or out of range. */
function parseNumber(value: string, range: readonly [number, number]): number | undefined {
	if (!/^(?:\d{1,10}|0[xX][0-9a-fA-F]{1,8})$/.test(value)) return undefined;
	const number = Number(value);
	return number >= range[0] && number <= range[1] ? number : undefined;
}
