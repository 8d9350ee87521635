import type { ControllerView, SessionView, VolumeView } from '../admin/schemas.ts';
import type { ApiClient } from './api-client.ts';

/** `, while 2 sessions and a controller use it`, or nothing: what somebody should know before a volume changes under its users. */
export async function usersOf(client: ApiClient, volume: string): Promise<string> {
	const [{ mappings, namespaces }, { sessions }, { controllers }] = await Promise.all([
		client.get<VolumeView>(`/v1/volumes/${encodeURIComponent(volume)}`),
		client.get<{ sessions: SessionView[] }>('/v1/sessions'),
		client.get<{ controllers: ControllerView[] }>('/v1/controllers'),
	]);
	return describeUsers(
		sessions.filter((session) => mappings.some(({ target }) => target === session.target)).length,
		controllers.filter((controller) => namespaces.some(({ subsystem }) => subsystem === controller.subsystem)).length,
	);
}

export function describeUsers(sessions: number, controllers: number): string {
	const counted = [count(sessions, 'session'), count(controllers, 'controller')].filter((one) => one !== '');
	if (counted.length === 0) return '';
	return `, while ${counted.join(' and ')} ${sessions + controllers === 1 ? 'uses' : 'use'} it`;
}

function count(number: number, what: string): string {
	if (number === 0) return '';
	return number === 1 ? `a ${what}` : `${number} ${what}s`;
}
