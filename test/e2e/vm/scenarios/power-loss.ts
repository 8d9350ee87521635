import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { checkCluster, makeCluster, sql, startCluster } from '../postgresql.ts';
import { gibibyte, iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';

const files = iqn('power-loss-files');
const raw = iqn('power-loss-raw');
const blocks = 64;

export const powerLoss: Scenario = {
	name: 'power-loss',
	claim: 'host and guest lose power: a file after its fsync, and a block after its write with FUA, are there',
	units: [
		{ target: files, lun: 0, sizeBytes: gibibyte },
		{ target: raw, lun: 0, sizeBytes: 256 * mebibyte },
	],
	hasOwnDisk: true,
	async run(stage) {
		const disk = await login(stage, files);
		await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt`);
		const { output: sums } = await stage.run(
			'for i in $(seq 20); do dd if=/dev/urandom of=/mnt/file$i bs=4k count=$i conv=fsync status=none || exit 1; done; cd /mnt; sha256sum file*',
		);
		// The other volume: what it flushes does not help this one.
		const device = await login(stage, raw);
		const { output: sum } = await stage.run(
			`dd if=/dev/urandom of=/tmp/blocks bs=512 count=${blocks} status=none; sha256sum < /tmp/blocks; sg_dd if=/tmp/blocks of=${device} bs=512 count=${blocks} bpt=8 blk_sgio=1 oflag=fua 2>&1 | grep -v sg_dd`,
		);
		await stage.losePower();
		const again = await login(stage, raw);
		const { output: found } = await stage.run(`dd if=${again} bs=512 count=${blocks} iflag=direct status=none | sha256sum`);
		expect(found.trim() === sum.split('\n')[0], 'what was written with FUA is not there');
		const mounted = await login(stage, files);
		await stage.run(`mount ${mounted} /mnt && cd /mnt && sha256sum --quiet -c <<'END'\n${sums.trim()}\nEND`);
		await stage.run(`umount /mnt && e2fsck -fn ${mounted}`);
		await logout(stage, files);
		await logout(stage, raw);
	},
};

const database = iqn('power-loss-database');
const insertsBefore = 600;

export const powerLossDatabase: Scenario = {
	name: 'power-loss-database',
	claim: 'host and guest lose power amid INSERTs: PostgreSQL recovers, and every acknowledged row is there, without a gap',
	units: oneUnit('power-loss-database', 2 * gibibyte),
	hasOwnDisk: true,
	async run(stage) {
		await makeCluster(stage, await login(stage, database));
		await sql(stage, 'create table ledger (id int primary key, words text)');
		let acknowledged = 0;
		const inserts = `seq 1000000 | sed "s/.*/insert into ledger values (&, repeat('blockport', 20)) returning id;/"`;
		const client = 'setpriv --reuid postgres --regid postgres --clear-groups psql -X -A -t -q -v ON_ERROR_STOP=1 postgres';
		const enough = new Promise<void>((resolve, reject) => {
			const onLine = (line: string): void => {
				acknowledged = Number(line);
				if (acknowledged >= insertsBefore) resolve();
			};
			stage.log(`guest# ${inserts} | ${client}`);
			// It never ends by itself: the guest is gone before.
			stage.run(`cd / && ${inserts} | ${client}`, { timeoutSeconds: 120, isQuiet: true, onLine }).catch(reject);
		});
		await enough;
		await stage.losePower();
		stage.log(`${acknowledged} rows were acknowledged`);
		const disk = await login(stage, database);
		await stage.run(`mount ${disk} /mnt`);
		await startCluster(stage);
		const [count, last] = (await sql(stage, 'select count(*), max(id) from ledger')).split('|').map(Number);
		expect(last! >= acknowledged, `${acknowledged} rows were acknowledged, and the last one is ${last}`);
		expect(count === last, `${count} rows up to number ${last}`);
		await checkCluster(stage);
		await stage.run(`umount /mnt && e2fsck -fn ${disk}`, { timeoutSeconds: 120 });
		await logout(stage, database);
		return `${acknowledged} rows acknowledged, ${last} there`;
	},
};
