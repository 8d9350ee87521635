import type { ReservationsView } from '../admin/schemas.ts';
import { lines, table } from './terminal.ts';

/** Both standards write the types in words. */
const types: Readonly<Record<NonNullable<ReservationsView['type']>, string>> = {
	writeExclusive: 'write exclusive',
	exclusiveAccess: 'exclusive access',
	writeExclusiveRegistrantsOnly: 'write exclusive, registrants only',
	exclusiveAccessRegistrantsOnly: 'exclusive access, registrants only',
	writeExclusiveAllRegistrants: 'write exclusive, all registrants',
	exclusiveAccessAllRegistrants: 'exclusive access, all registrants',
};

/** Who is registered and who holds what; empty when that is nobody. */
export async function describeReservations({
	type,
	unitHolder,
	generation,
	persistThroughPowerLoss,
	registrants,
}: ReservationsView): Promise<string> {
	if (registrants.length === 0 && unitHolder === undefined) return '';
	const facts = lines([
		['reservation', type === undefined ? (unitHolder === undefined ? 'none' : `whole unit (RESERVE) by ${unitHolder}`) : types[type]],
		['persists through power loss', persistThroughPowerLoss ? 'yes' : 'no'],
		['generation', String(generation)],
	]);
	const rows = registrants.map(({ protocol, id, port, key, holder }) => [protocol, id, port ?? '', key, holder ? 'yes' : '']);
	const drawn = await table(['PROTOCOL', 'REGISTRANT', 'TARGET PORT', 'KEY', 'HOLDS'], rows, '');
	return drawn === '' ? facts : `${facts}\n\n${drawn}`;
}
