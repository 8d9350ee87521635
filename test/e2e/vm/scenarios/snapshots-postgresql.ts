import { expect } from '../../../conformance/checks.ts';
import { onTarget } from '../host.ts';
import { diskOf, login, logout } from '../initiator.ts';
import { checkCluster, makeCluster, pgbenchTables, sql, startCluster, stopCluster } from '../postgresql.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('snapshots');
const snapshots = 20;
const clients = 4;
/** Every so many snapshots are mounted themselves as well, beside their clone. */
const mountedEvery = 5;
/** The LUN of a mounted snapshot is this and its number; that of a clone its number. */
const mountedLuns = 100;

/** What the database counts: rows that one client inserts one by one, and what pgbench's own script leaves. */
interface Counters {
	readonly rows: number;
	readonly history: number;
}

/** A snapshot, and what it must hold at least and at most. */
interface Cut {
	readonly name: string;
	readonly number: number;
	readonly least: Counters;
	readonly most: Counters;
}

export const snapshotsPostgresql: Scenario = {
	name: 'snapshots-postgresql',
	claim: `${snapshots} snapshots under pgbench -c ${clients}: PostgreSQL recovers on a clone of each, with all that was acknowledged before it and nothing from after it`,
	units: oneUnit('snapshots', gibibyte),
	// Five to seven minutes in an emulated guest.
	isOnDemand: true,
	async run(stage) {
		const disk = await login(stage, target);
		await makeCluster(stage, disk);
		// Checkpoints all the time: snapshots fall into them, and no recovery is long. They count from the next start.
		await stage.run(
			`printf '%s\\n' 'max_wal_size = 48MB' 'min_wal_size = 32MB' 'checkpoint_timeout = 30s' >> /mnt/cluster/postgresql.conf`,
		);
		await stopCluster(stage, 'fast');
		await startCluster(stage);
		await pgbenchTables(stage, 1);
		await sql(stage, 'create table ledger (id int primary key, words text)');
		// What is in place now a reader of the mounted snapshots finds without the journal.
		await stage.run('fsfreeze -f /mnt && fsfreeze -u /mnt');

		const cuts = await cutsUnderLoad(stage);
		await stage.run('umount /mnt');

		const startMs = performance.now();
		const found: Counters[] = [];
		let upcoming = offered(stage, cuts[0]!);
		for (const [index, cut] of cuts.entries()) {
			await upcoming;
			const next = cuts[index + 1];
			if (next !== undefined) {
				upcoming = offered(stage, next);
				upcoming.catch(() => undefined);
			}
			found.push(await recovered(stage, cut, found.at(-1)));
		}
		const eachSeconds = (performance.now() - startMs) / 1000 / snapshots;

		const { output: recoveries } = await stage.run("grep -c 'automatic recovery in progress' /tmp/postgresql.log");
		expect(Number(recoveries) === snapshots, `${recoveries.trim()} of ${snapshots} starts were recoveries`);
		stage.log('the volume itself:');
		await stage.run(`mount ${disk} /mnt`);
		await startCluster(stage);
		const last = await counters(stage);
		expect(last.rows >= found.at(-1)!.rows && last.history >= found.at(-1)!.history, 'the volume has less than its latest snapshot');
		await checkCluster(stage);
		await stage.run(`umount /mnt && e2fsck -fn ${disk}`, { timeoutSeconds: 120 });
		await logout(stage, target);
		const told = found.map(({ rows, history }) => `${rows}/${history}`).join(' ');
		return `rows/transactions: ${told}; ${eachSeconds.toFixed(1)} s each to attach, recover and look`;
	},
};

/** Makes the snapshots and their clones while clients write; then PostgreSQL stops as in a crash. */
async function cutsUnderLoad(stage: Stage): Promise<Cut[]> {
	const as = 'setpriv --reuid postgres --regid postgres --clear-groups';
	let acknowledged = 0;
	const inserts = `seq 1000000 | sed "s/.*/insert into ledger values (&, repeat('blockport', 20)) returning id;/"`;
	const onLine = (line: string): void => {
		if (/^\d+$/.test(line)) acknowledged = Number(line);
	};
	const endless = { timeoutSeconds: 300, isQuiet: true, okCodes: 'any' } as const;
	stage.log(`guest# pgbench -c ${clients}, and a client that inserts rows`);
	// Neither ends before the server does.
	const load = [
		stage.run(`cd / && ${as} pgbench -c ${clients} -T 600 postgres`, endless),
		stage.run(`cd / && ${inserts} | ${as} psql -X -A -t -q -v ON_ERROR_STOP=1 postgres`, { ...endless, onLine }),
	];
	for (const one of load) one.catch(() => undefined);

	const startMs = performance.now();
	const cuts: Cut[] = [];
	let seen = await counters(stage);
	for (let number = 1; number <= snapshots; number++) {
		const name = `cut${number}`;
		const least = { rows: Math.max(acknowledged, seen.rows), history: seen.history };
		await onTarget(stage, 'snapshot', 'create', 'volume0', name);
		seen = await counters(stage);
		// A commit may be on the disk and not seen yet, one for each client.
		cuts.push({ name, number, least, most: { rows: seen.rows + 1, history: seen.history + clients } });
		await onTarget(stage, 'snapshot', 'clone', `volume0@${name}`, `clone${number}`);
	}
	stage.log(`${snapshots} snapshots and clones in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
	expect(cuts.at(-1)!.least.history > cuts[0]!.most.history, 'pgbench did nothing meanwhile');
	await stopCluster(stage, 'immediate');
	await Promise.all(load);
	return cuts;
}

/** Maps a clone, and some snapshots too; the guest finds the disks by itself. */
async function offered(stage: Stage, { name, number }: Cut): Promise<void> {
	await onTarget(stage, 'target', 'map', target, `clone${number}`, '--lun', String(number));
	if (number % mountedEvery === 0)
		await onTarget(stage, 'snapshot', 'mount', `volume0@${name}`, '--target', target, '--lun', String(mountedLuns + number));
}

/** Starts PostgreSQL on the clone, and compares its counters with what the cut must hold. */
async function recovered(stage: Stage, cut: Cut, before: Counters | undefined): Promise<Counters> {
	const { name, number, least, most } = cut;
	const clone = await diskOf(stage, target, number);
	await stage.run(`mount ${clone} /mnt`);
	await startCluster(stage);
	const found = await counters(stage);
	for (const counter of ['rows', 'history'] as const) {
		const words = `${name} has ${found[counter]} ${counter}`;
		expect(found[counter] >= least[counter], `${words}: ${least[counter]} were acknowledged before it`);
		expect(found[counter] <= most[counter], `${words}: ${most[counter]} at most could be there when it was made`);
		expect(before === undefined || found[counter] >= before[counter], `${words}: the one before has ${before?.[counter]}`);
	}
	const isMounted = number % mountedEvery === 0;
	await stopCluster(stage, isMounted ? 'fast' : 'immediate');
	if (isMounted) await expectUntouched(stage, await diskOf(stage, target, mountedLuns + number));
	await stage.run(`umount /mnt && e2fsck -fn ${clone} > /tmp/e2fsck 2>&1 || { cat /tmp/e2fsck; exit 1; }`, { timeoutSeconds: 60 });
	return found;
}

/** The mounted snapshot still shows a server that runs, whatever its clone has written since. */
async function expectUntouched(stage: Stage, disk: string): Promise<void> {
	const { output } = await stage.run(
		`mkdir -p /tmp/snapshot && mount -o ro,noload ${disk} /tmp/snapshot && for at in /tmp/snapshot /mnt; do pg_controldata $at/cluster | sed -n 's/^Database cluster state: *//p'; done; umount /tmp/snapshot`,
	);
	expect(output.trim() === 'in production\nshut down', `snapshot and clone say: ${output}`);
}

/** Rejects when rows are missing among those that are there, or the balances of pgbench's tables differ. */
async function counters(stage: Stage): Promise<Counters> {
	const query = [
		'(select count(*) from ledger)',
		'(select coalesce(max(id), 0) from ledger)',
		'(select count(*) from pgbench_history)',
		'(select coalesce(sum(delta), 0) from pgbench_history)',
		'(select sum(bbalance) from pgbench_branches)',
		'(select sum(tbalance) from pgbench_tellers)',
		'(select sum(abalance) from pgbench_accounts)',
	];
	const [rows, last, history, ...balances] = (await sql(stage, `select ${query.join(', ')}`)).split('|').map(Number);
	expect(rows === last, `${rows} rows up to number ${last}`);
	expect(new Set(balances).size === 1, `the balances differ: ${balances.join(', ')}`);
	return { rows: rows!, history: history! };
}
