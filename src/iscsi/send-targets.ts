import type { ScsiTarget } from '../scsi/target-device.ts';
import type { Connection } from './connection.ts';
import { targetAddresses } from './portal.ts';
import type { KeyValue } from './text.ts';

/**
 * RFC 7143 appendix C: every portal of a target's group, whichever was asked. `All` is for discovery sessions, an empty value for normal ones; a name works in both, but a normal session is told of its own
 * target only.
 */
export function answerSendTargets(connection: Connection, question: string): KeyValue[] {
	const session = connection.session!;
	const own = session.target;
	if (own === undefined) {
		if (question === '') return [['SendTargets', 'Reject']];
		const visitor = { initiatorName: session.initiatorName, address: connection.host.remoteAddress };
		const visible = connection.registry.visibleTo(visitor);
		return describe(connection, question === 'All' ? visible : visible.filter((target) => target.name === question));
	}
	if (question === 'All') return [['SendTargets', 'Reject']];
	return describe(connection, question === '' || question === own.name ? [own] : []);
}

/** A target that no portal leads to from where the initiator is has no place here: without an address it would be looked for where it was asked for. */
function describe(connection: Connection, targets: readonly ScsiTarget[]): KeyValue[] {
	const reached = { host: connection.host.localAddress };
	return targets.flatMap((target): KeyValue[] => {
		const places = targetAddresses(target, connection.portals, reached);
		if (places.length === 0) return [];
		return [['TargetName', target.name], ...places.map((place): KeyValue => ['TargetAddress', place])];
	});
}
