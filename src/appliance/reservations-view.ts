import type { ReservationsView } from '../admin/schemas.ts';
import type { ReservationTable } from '../reservation/reservation-table.ts';

/** A volume's reservation table, as the admin API shows it. */
export function reservationsView(table: ReservationTable): ReservationsView {
	const { type, generation, persistThroughPowerLoss, registrations } = table.report();
	const { unitHolder } = table;
	return {
		...(type === undefined ? {} : { type }),
		...(unitHolder === undefined ? {} : { unitHolder: unitHolder.id }),
		generation,
		persistThroughPowerLoss,
		registrants: registrations.map(({ registrant, key, holder }) => ({
			protocol: registrant.protocol,
			id: registrant.id,
			...(registrant.port === '' ? {} : { port: registrant.port }),
			key: `0x${key.toString(16).padStart(16, '0')}`,
			holder,
		})),
	};
}
