import { expect } from '../../conformance/checks.ts';
import type { Stage } from './stage.ts';

/** The data directory, on the disk that is mounted there. */
const data = '/mnt/cluster';
/** Runs a program as the user that PostgreSQL wants; its pager and locale are not there. */
const as = 'setpriv --reuid postgres --regid postgres --clear-groups';
const server = `${as} pg_ctl -D ${data} -s -w -t 90`;

/** Makes ext4 and a cluster with checksums on the disk; starts it. */
export async function makeCluster(stage: Stage, disk: string): Promise<void> {
	await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt && install -d -o postgres -g postgres -m 700 ${data}`);
	await stage.run(`set -o pipefail; cd / && ${as} initdb -D ${data} -k --locale=C --encoding=UTF8 | tail -n 3`, { timeoutSeconds: 180 });
	// The image has no JIT compiler; all else is PostgreSQL's default, fsync and full_page_writes first of all.
	// initdb has synced what it made; this line has to be as safe as that.
	await stage.run(`echo 'jit = off' >> ${data}/postgresql.conf && sync ${data}/postgresql.conf`);
	await startCluster(stage);
}

export async function startCluster(stage: Stage): Promise<void> {
	await stage.run(`cd / && ${server} -l /tmp/postgresql.log start || { tail -n 20 /tmp/postgresql.log; exit 1; }`, { timeoutSeconds: 120 });
}

/** fast: orderly; immediate: as a crash, so that the next start recovers. */
export async function stopCluster(stage: Stage, mode: 'fast' | 'immediate'): Promise<void> {
	await stage.run(`cd / && ${server} -m ${mode} stop`, { timeoutSeconds: 120 });
}

export async function sql(stage: Stage, query: string): Promise<string> {
	const { output } = await stage.run(`cd / && ${as} psql -X -A -t -v ON_ERROR_STOP=1 -c "${query}" postgres`, { timeoutSeconds: 90 });
	return output.trim();
}

export async function pgbenchTables(stage: Stage, scale: number): Promise<void> {
	await stage.run(`set -o pipefail; cd / && ${as} pgbench -i -q -s ${scale} postgres 2>&1 | tail -n 2`, { timeoutSeconds: 240 });
}

export interface PgbenchResult {
	/** Transactions whose commit was acknowledged to the client. */
	readonly acknowledged: number;
	readonly tps: number;
}

export async function pgbench(stage: Stage, options: string, timeoutSeconds = 180): Promise<PgbenchResult> {
	const { output } = await stage.run(`cd / && ${as} pgbench ${options} postgres`, { timeoutSeconds });
	const acknowledged = Number(/number of transactions actually processed: (\d+)/.exec(output)?.[1]);
	const failed = Number(/number of failed transactions: (\d+)/.exec(output)?.[1]);
	const tps = Number(/^tps = ([\d.]+)/m.exec(output)?.[1]);
	expect(acknowledged > 0 && tps > 0, 'pgbench told no figures');
	expect(failed === 0, `${failed} transactions failed`);
	return { acknowledged, tps };
}

/** Each transaction of pgbench's own script leaves a row of history, and adds one sum to three tables: the counts and sums that all must agree. */
export async function expectLedger(stage: Stage, acknowledged: number): Promise<void> {
	const sums = [
		'abalance) from pgbench_accounts',
		'bbalance) from pgbench_branches',
		'tbalance) from pgbench_tellers',
		'delta) from pgbench_history',
	];
	const answer = await sql(stage, `select (select count(*) from pgbench_history), ${sums.map((sum) => `(select sum(${sum})`).join(', ')}`);
	const [count, ...balances] = answer.split('|');
	expect(Number(count) === acknowledged, `${acknowledged} transactions were acknowledged, ${count} are there`);
	expect(new Set(balances).size === 1, `the balances differ: ${balances.join(', ')}`);
}

/** Reads every table and index, and (with the cluster stopped) every page's checksum. Leaves it stopped. */
export async function checkCluster(stage: Stage): Promise<void> {
	await stage.run(`cd / && ${as} pg_amcheck --install-missing --heapallindexed --jobs=2 postgres && echo pg_amcheck: no finding`, {
		timeoutSeconds: 240,
	});
	await stopCluster(stage, 'fast');
	await stage.run(`${as} pg_checksums --check -D ${data}`, { timeoutSeconds: 120 });
}
