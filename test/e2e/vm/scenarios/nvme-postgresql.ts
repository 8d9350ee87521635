import { connect, disconnect, nqn, offer } from '../host.ts';
import { expectLedger, makeCluster, pgbench, pgbenchTables, stopCluster } from '../postgresql.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';

const name = nqn('postgresql');
const seconds = 20;
const clients = 4;

export const nvmePostgresql: Scenario = {
	name: 'nvme-postgresql',
	claim: `PostgreSQL 15 on the namespace: initdb, pgbench -i -s 10, then -c ${clients} -T ${seconds}; counts and balances agree`,
	units: oneUnit('postgresql', 4 * gibibyte),
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name);
		await makeCluster(stage, disk);
		await pgbenchTables(stage, 10);
		const cpuBefore = stage.target.process.cpuSeconds();
		const { acknowledged, tps } = await pgbench(stage, `-c ${clients} -T ${seconds}`);
		const cpu = stage.target.process.cpuSeconds() - cpuBefore;
		await expectLedger(stage, acknowledged);
		await stopCluster(stage, 'fast');
		await stage.run('umount /mnt');
		await disconnect(stage, name);
		return `${tps.toFixed(0)} TPS, ${((cpu / acknowledged) * 1000).toFixed(2)} ms of the target's CPU a transaction`;
	},
};
