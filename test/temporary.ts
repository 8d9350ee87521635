import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A fresh directory, removed when the test is over. */
export async function temporaryDirectory(t: Pick<ExecutionContext, 'teardown'>): Promise<string> {
	const path = await mkdtemp(join(tmpdir(), 'blockport-test-'));
	t.teardown(() => rm(path, { recursive: true, force: true }));
	return path;
}
