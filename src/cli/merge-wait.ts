import { setTimeout as delay } from 'node:timers/promises';
import type { MergeView } from '../admin/snapshot-schemas.ts';
import type { ApiClient } from './api-client.ts';
import { ProgressBar } from './progress-bar.ts';

const pollMs = 500;

/** Waits until no layer of a volume is on its way into another. */
export async function merged(client: ApiClient, volume: string): Promise<void> {
	const bar = new ProgressBar(`merge of ${volume}`);
	try {
		for (;;) {
			const { isMerging, done } = await client.get<MergeView>(`/v1/volumes/${encodeURIComponent(volume)}/merge`);
			if (!isMerging) return;
			bar.update(done);
			await delay(pollMs);
		}
	} finally {
		bar.end();
	}
}
