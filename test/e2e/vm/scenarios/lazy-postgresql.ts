import { S3Server } from '../../../archive/store/s3-server.ts';
import { expect } from '../../../conformance/checks.ts';
import { onTarget } from '../host.ts';
import { diskOf, login, logout } from '../initiator.ts';
import { checkCluster, makeCluster, pgbenchTables, sql, startCluster, stopCluster } from '../postgresql.ts';
import { gibibyte, iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('lazy');
/** How far away the repository is: each answer takes so long. */
const latencyMs = 400;
/** Of a file beside the database, which nobody reads. */
const bulkMiB = 400;
const remoteShareMin = 0.9;
const query = 'select count(*) from pgbench_branches';

interface Manifest {
	readonly id: string;
	readonly dataBytes: number;
}

export const lazyPostgresql: Scenario = {
	name: 'lazy-postgresql',
	claim: `a PostgreSQL volume of ${bulkMiB} MiB restored lazily from S3 at ${latencyMs} ms an answer: the first query is answered while over ${remoteShareMin * 100} % is still there, the database is sound, and it ends as a volume that needs no archive`,
	units: oneUnit('lazy', 2 * gibibyte),
	async run(stage) {
		const ends: (() => Promise<void>)[] = [];
		const server = await new S3Server({ secretAccessKey: 'secret-of-the-lane' }).start({ teardown: (end) => ends.push(end) });
		try {
			return await restored(stage, server);
		} finally {
			for (const end of ends) await end();
		}
	},
};

async function restored(stage: Stage, server: S3Server): Promise<string> {
	const disk = await login(stage, target);
	await makeCluster(stage, disk);
	await pgbenchTables(stage, 1);
	// No two chunks of it are alike, and none is empty.
	await stage.run(`seq 100000000 | head -c ${bulkMiB}M > /mnt/bulk`, { timeoutSeconds: 120 });
	await stopCluster(stage, 'fast');
	await stage.run('umount /mnt', { timeoutSeconds: 120 });
	const manifest = await archived(stage, server);
	server.latencyMs = latencyMs;

	const lazy = await firstAnswer(stage, server, ['--lazy'], 'lazy', 1, manifest);
	expect(lazy.remoteShare > remoteShareMin, `only ${(lazy.remoteShare * 100).toFixed(1)} % were remote when the first query was answered`);
	await stopCluster(stage, 'fast');
	await stage.run('umount /mnt');
	const eager = await firstAnswer(stage, server, [], 'eager', 2, manifest);
	await stopCluster(stage, 'fast');
	await stage.run('umount /mnt');

	server.latencyMs = 0;
	await untilLocal(stage, 'lazy');
	await server.stop();
	stage.log('the archive is gone; the volume goes on:');
	await stage.run(`mount ${await diskOf(stage, target, 1)} /mnt`);
	await startCluster(stage);
	expect((await sql(stage, query)) === '1', 'the restored database has another content');
	await stage.run(`[ "$(seq 100000000 | head -c ${bulkMiB}M | md5sum)" = "$(md5sum < /mnt/bulk)" ]`, { timeoutSeconds: 120 });
	await checkCluster(stage);
	await stage.run('umount /mnt');
	await logout(stage, target);
	const share = `${(lazy.remoteShare * 100).toFixed(1)} % of ${Math.round(manifest.dataBytes / mebibyte)} MiB still remote`;
	return `first answer after ${lazy.seconds.toFixed(1)} s (${share}), eagerly after ${eager.seconds.toFixed(1)} s`;
}

/** Archives the volume as it is now. */
async function archived(stage: Stage, server: S3Server): Promise<Manifest> {
	const { accessKeyId, secretAccessKey, region } = server.credentials;
	const bucket = [
		'--s3',
		`s3://${server.bucket}/lane`,
		'--endpoint',
		`http://127.0.0.1:${server.port}`,
		'--region',
		region,
		'--path-style',
	];
	const access = ['--access-key-id', accessKeyId, '--secret-access-key', secretAccessKey];
	await onTarget(stage, 'snapshot', 'create', 'volume0', 'cut');
	await onTarget(stage, 'archive', 'repository', 'add', 'remote', ...bucket, ...access, '--create');
	await onTarget(stage, 'archive', 'export', 'volume0@cut', 'remote');
	const { manifests } = JSON.parse(await stage.target.cli('archive', 'list', 'remote', '--json')) as { manifests: { id: string }[] };
	const { id } = manifests[0]!;
	return JSON.parse(await stage.target.cli('archive', 'show', 'remote', id, '--json')) as Manifest;
}

/** From the wish to restore to the first answer of the database, and how much nobody had fetched by then. */
async function firstAnswer(
	stage: Stage,
	server: S3Server,
	how: readonly string[],
	name: string,
	lun: number,
	{ id, dataBytes }: Manifest,
): Promise<{ seconds: number; remoteShare: number }> {
	server.take();
	const startMs = performance.now();
	await onTarget(stage, 'archive', 'restore', 'remote', id, name, ...how);
	await onTarget(stage, 'target', 'map', target, name, '--lun', String(lun));
	await stage.run(`mount ${await diskOf(stage, target, lun)} /mnt`);
	await startCluster(stage);
	const answer = await sql(stage, query);
	const seconds = (performance.now() - startMs) / 1000;
	const fetched = server.take().filter((request) => /^GET .*\/chunks\//.test(request)).length;
	expect(answer === '1', `${query} answers ${answer}`);
	return { seconds, remoteShare: 1 - (fetched * mebibyte) / dataBytes };
}

async function untilLocal(stage: Stage, volume: string): Promise<void> {
	for (let attempt = 0; attempt < 120; attempt++) {
		const { restoring } = JSON.parse(await stage.target.cli('volume', 'show', volume, '--json')) as { restoring?: { done: number } };
		if (restoring === undefined) return;
		await new Promise((resolve) => setTimeout(resolve, 500));
	}
	throw new Error(`${volume} is still being restored`);
}
