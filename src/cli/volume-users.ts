import type { ControllerView, SessionView, VolumeView } from '../admin/schemas.ts';
import type { RestoredView } from '../admin/snapshot-schemas.ts';
import type { ApiClient } from './api-client.ts';

/** Who is logged in or connected to something. */
export interface Users {
	readonly sessions: readonly Pick<SessionView, 'initiator' | 'target'>[];
	readonly controllers: readonly Pick<ControllerView, 'host' | 'subsystem'>[];
}

/** How many are named at most. */
const namedMax = 8;

/** Those that reach a volume now: what somebody should know before it changes under them. */
export async function usersOfVolume(client: ApiClient, volume: string): Promise<Users> {
	const [{ mappings, namespaces }, { sessions, controllers }] = await Promise.all([
		client.get<VolumeView>(`/v1/volumes/${encodeURIComponent(volume)}`),
		everybody(client),
	]);
	return {
		sessions: sessions.filter((session) => mappings.some(({ target }) => target === session.target)),
		controllers: controllers.filter((controller) => namespaces.some(({ subsystem }) => subsystem === controller.subsystem)),
	};
}

/** Those of one target or one subsystem, by its normal name. */
export async function usersOfExport(client: ApiClient, name: string): Promise<Users> {
	const { sessions, controllers } = await everybody(client);
	return {
		sessions: sessions.filter(({ target }) => target === name),
		controllers: controllers.filter(({ subsystem }) => subsystem === name),
	};
}

/** `, while iqn.… (iSCSI, logged in to iqn.…) and nqn.… (NVMe/TCP, connected to nqn.…) use it`, or nothing. */
export function whileUsed(users: Users): string {
	const named = nameUsers(users);
	if (named.length === 0) return '';
	return `, while ${listed(named)} ${named.length === 1 ? 'uses' : 'use'} it`;
}

/** `; a session and 2 controllers were told …`, or nothing. */
export function toldText({ told: { sessions, controllers } }: Pick<RestoredView, 'told'>): string {
	const counted = [count(sessions, 'session'), count(controllers, 'controller')].filter((one) => one !== '').join(' and ');
	if (counted === '') return '';
	const were = sessions + controllers === 1 ? 'was' : 'were';
	return `; ${counted} ${were} told that what they have in their caches is wrong: mount it anew there`;
}

async function everybody(client: ApiClient): Promise<Users> {
	const [{ sessions }, { controllers }] = await Promise.all([
		client.get<{ sessions: SessionView[] }>('/v1/sessions'),
		client.get<{ controllers: ControllerView[] }>('/v1/controllers'),
	]);
	return { sessions, controllers };
}

/** Each once, however many sessions it has there. */
function nameUsers({ sessions, controllers }: Users): string[] {
	return [
		...new Set([
			...sessions.map(({ initiator, target }) => `${initiator} (iSCSI, logged in to ${target ?? 'discovery'})`),
			...controllers.map(({ host, subsystem }) => `${host} (NVMe/TCP, connected to ${subsystem})`),
		]),
	];
}

function listed(named: readonly string[]): string {
	const shown = named.length > namedMax ? [...named.slice(0, namedMax - 1), `${named.length - namedMax + 1} more`] : named;
	const last = shown.at(-1) ?? '';
	return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} and ${last}`;
}

function count(number: number, what: string): string {
	if (number === 0) return '';
	return number === 1 ? `a ${what}` : `${number} ${what}s`;
}
