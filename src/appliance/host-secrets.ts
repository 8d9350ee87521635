import type { HostAccess, HostRow } from '../config/subsystems.ts';
import { UsageError } from '../config/usage-error.ts';
import { DhchapKey, DhchapKeyError } from '../nvmeof/auth-key.ts';

/** Refuses (UsageError) secrets that are none, and one for both directions, those that stand already included: who knows one side's secret could play the other side. */
export function checkSecrets(access: HostAccess, before: HostRow | undefined): void {
	const host = parsed(access.dhchapSecret ?? before?.dhchapSecret);
	const controller = parsed(access.dhchapCtrlSecret ?? before?.dhchapCtrlSecret);
	if (host !== undefined && controller?.sameSecret(host) === true) {
		throw new UsageError('Host and controller need different secrets: make a second one with nvme gen-dhchap-key.');
	}
}

function parsed(text: string | undefined): DhchapKey | undefined {
	if (text === undefined) return undefined;
	try {
		return DhchapKey.parse(text);
	} catch (error) {
		if (!(error instanceof DhchapKeyError)) throw error;
		throw new UsageError(error.message, 'invalid', { cause: error });
	}
}
