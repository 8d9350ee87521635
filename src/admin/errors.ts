import { UsageError, type UsageErrorCode } from '../config/usage-error.ts';

/** RFC 9110 §15, for each kind of refusal. */
const statusOf: Record<UsageErrorCode, number> = {
	invalid: 400,
	notFound: 404,
	alreadyExists: 409,
	inUse: 409,
	unavailable: 503,
	noSpace: 507,
};

export interface ErrorAnswer {
	status: number;
	body: { error: { code: string; message: string } };
}

interface ValidationIssue {
	instancePath: string;
	message?: string;
}

/** The answer for what a route threw: one sentence, and never what only the log should say. */
export function errorAnswer(error: unknown): ErrorAnswer {
	if (error instanceof UsageError) return answer(statusOf[error.code], error.code, error.message);
	if (error instanceof Error) {
		if ('validation' in error && Array.isArray(error.validation)) return answer(400, 'invalid', validationSentence(error.validation));
		const status = 'statusCode' in error ? error.statusCode : undefined;
		// Fastify's own refusals: no JSON, body too large, unknown content type.
		if (typeof status === 'number' && status >= 400 && status < 500) return answer(status, 'invalid', sentence(error.message));
	}
	return answer(500, 'internal', 'The request failed for a reason that the log of blockport tells.');
}

export function answer(status: number, code: string, message: string): ErrorAnswer {
	return { status, body: { error: { code, message } } };
}

function validationSentence(issues: readonly ValidationIssue[]): string {
	const first = issues[0];
	if (first === undefined) return 'The request is not what this route takes.';
	const where = first.instancePath.replace(/^\//, '').replaceAll('/', '.');
	return sentence(where === '' ? (first.message ?? '') : `${where}: ${first.message ?? ''}`);
}

function sentence(text: string): string {
	const line = text.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
	return line.endsWith('.') ? line : `${line}.`;
}
