import { setTimeout as pause } from 'node:timers/promises';
import { login, logout } from '../initiator.ts';
import { checkCluster, expectLedger, makeCluster, pgbench, pgbenchTables, sql, startCluster, stopCluster } from '../postgresql.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';

const target = iqn('postgresql');
const unit = oneUnit('postgresql', 4 * gibibyte);
const seconds = 30;
const clients = 4;
/** When the target is killed, seconds into pgbench. */
const killedAfter = [7, 17];

export const postgresql: Scenario = {
	name: 'postgresql',
	claim: `PostgreSQL 15 on the LUN: initdb, pgbench -i -s 10, then -c ${clients} -T ${seconds}; counts and balances agree`,
	units: unit,
	async run(stage) {
		const disk = await login(stage, target);
		await makeCluster(stage, disk);
		await pgbenchTables(stage, 10);
		const cpuBefore = stage.target.process.cpuSeconds();
		const { acknowledged, tps } = await pgbench(stage, `-c ${clients} -T ${seconds}`);
		const cpu = stage.target.process.cpuSeconds() - cpuBefore;
		await expectLedger(stage, acknowledged);
		await stopCluster(stage, 'fast');
		await stage.run('umount /mnt');
		await logout(stage, target);
		return `${tps.toFixed(0)} TPS, ${((cpu / acknowledged) * 1000).toFixed(2)} ms of the target's CPU a transaction`;
	},
};

export const killPgbench: Scenario = {
	name: 'kill-pgbench',
	claim:
		'kill -9 of the target amid pgbench, twice, and then with PostgreSQL: every acknowledged transaction is there, pg_amcheck finds nothing',
	units: unit,
	after: postgresql,
	faults: 'connection',
	async run(stage) {
		const disk = await login(stage, target);
		await stage.run(`mount ${disk} /mnt`);
		await startCluster(stage);
		const before = Number(await sql(stage, 'select count(*) from pgbench_history'));
		// -n: the history of the run before stays, as its sums do.
		const running = pgbench(stage, `-n -c ${clients} -T ${seconds} -P 5`);
		running.catch(() => undefined);
		let waited = 0;
		for (const after of killedAfter) {
			await pause((after - waited) * 1000);
			waited = after;
			stage.log('host# kill -9 of the target');
			await stage.target.kill();
			await stage.target.start();
			stage.log(`host# ${stage.target.readyLine}`);
		}
		const { acknowledged, tps } = await running;
		await expectLedger(stage, before + acknowledged);
		stage.log('host# kill -9 of the target, and PostgreSQL stops as in a crash');
		await Promise.all([stopCluster(stage, 'immediate'), stage.target.kill().then(async () => await stage.target.start())]);
		await startCluster(stage);
		await expectLedger(stage, before + acknowledged);
		await checkCluster(stage);
		await stage.run(`umount /mnt && e2fsck -fn ${disk}`, { timeoutSeconds: 120 });
		await logout(stage, target);
		return `${acknowledged} transactions, ${tps.toFixed(0)} TPS with ${killedAfter.length} kills`;
	},
};
