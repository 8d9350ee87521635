import { execFileSync } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '../../../conformance/checks.ts';
import { type S3ServerUnderTest, startSwift, swiftIsMissing } from '../../../conformance/swift.ts';
import { login, logout } from '../initiator.ts';
import { makeCluster, pgbenchTables, stopCluster } from '../postgresql.ts';
import { iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('archive');
const increments = 30;
const sizeBytes = 512 * mebibyte;

interface Backup {
	readonly name: string;
	readonly manifest: string;
	readonly uploadedChunks: number;
}

export const archivePostgresql: Scenario = {
	name: 'archive-postgresql',
	claim: `a full backup and ${increments} incremental ones of a volume under pgbench, in OpenStack Swift: only what changed is sent, and each is restored bit for bit, lazily and eagerly`,
	units: oneUnit('archive', sizeBytes),
	// Ten minutes.
	isOnDemand: true,
	async run(stage) {
		const missing = swiftIsMissing();
		expect(missing === '', `Swift is not installed: ${missing}`);
		const swift = await startSwift();
		try {
			return await backedUp(stage, swift);
		} finally {
			await swift.stop();
		}
	},
};

async function backedUp(stage: Stage, swift: S3ServerUnderTest): Promise<string> {
	const disk = await login(stage, target);
	await makeCluster(stage, disk);
	await pgbenchTables(stage, 1);
	const { endpoint, region, bucket, accessKeyId, secretAccessKey } = swift;
	const where = ['--s3', `s3://${bucket}/backups`, '--endpoint', endpoint, '--region', region, '--path-style'];
	const access = ['--access-key-id', accessKeyId, '--secret-access-key', secretAccessKey];
	await stage.target.cli('archive', 'repository', 'add', 'remote', ...where, ...access, '--create');

	// Ends no earlier than the server does.
	const as = 'setpriv --reuid postgres --regid postgres --clear-groups';
	const load = stage.run(`cd / && ${as} pgbench -c 2 -T 3600 postgres`, { timeoutSeconds: 1800, isQuiet: true, okCodes: 'any' });
	load.catch(() => undefined);
	const backups: Backup[] = [];
	for (let number = 0; number <= increments; number++) {
		const name = `s${number}`;
		await stage.target.cli('snapshot', 'create', 'volume0', name);
		const told = await stage.target.cli('archive', 'export', `volume0@${name}`, 'remote', '--json');
		const { result } = JSON.parse(told) as { result: { manifest: string; uploadedChunks: number } };
		backups.push({ name, ...result });
	}
	await stopCluster(stage, 'immediate');
	await load;
	await stage.run('umount /mnt');
	await logout(stage, target);

	const changes: string[] = [];
	let before: string | undefined;
	for (const backup of backups) {
		const path = join(stage.folder, backup.name);
		await exported(stage, 'volume0', backup.name, path);
		const changed = await changedChunks(before, path);
		expect(backup.uploadedChunks <= changed, `${backup.uploadedChunks} chunks were sent for ${backup.name}, and ${changed} had changed`);
		expect(before === undefined || backup.uploadedChunks > 0, `nothing was sent for ${backup.name}: pgbench did nothing`);
		changes.push(`${backup.uploadedChunks}/${changed}`);
		if (before !== undefined) await rm(before);
		before = path;
		for (const how of [['--lazy'], []]) await expectSame(stage, backup, how, path);
		stage.log(`${backup.name}: ${backup.uploadedChunks} chunks sent, ${changed} changed; restored lazily and eagerly as it was`);
	}
	return `chunks sent/changed: ${changes.join(' ')}`;
}

function exported(stage: Stage, volume: string, snapshot: string, path: string): Promise<string> {
	return stage.target.cli('snapshot', 'export', `${volume}@${snapshot}`, path, '--format', 'raw');
}

/** Restores a backup and compares all of it with what was archived. */
async function expectSame(stage: Stage, { name, manifest }: Backup, how: readonly string[], path: string): Promise<void> {
	const volume = `${name}-${how.length === 0 ? 'eager' : 'lazy'}`;
	const restored = `${path}-restored`;
	await stage.target.cli('archive', 'restore', 'remote', manifest, volume, ...how);
	await stage.target.cli('snapshot', 'create', volume, 'as-restored');
	await exported(stage, volume, 'as-restored', restored);
	// It says where they differ.
	execFileSync('cmp', [path, restored], { stdio: 'pipe' });
	await rm(restored);
	await stage.target.cli('volume', 'delete', volume, '--yes');
}

/** Chunks of 1 MiB that hold something and are not what they were. */
async function changedChunks(before: string | undefined, after: string): Promise<number> {
	const files = [await open(before ?? '/dev/null'), await open(after)] as const;
	const [old, now, zeros] = [Buffer.alloc(mebibyte), Buffer.alloc(mebibyte), Buffer.alloc(mebibyte)];
	let changed = 0;
	try {
		for (let at = 0; at < sizeBytes; at += mebibyte) {
			const { bytesRead } = await files[0].read(old, 0, mebibyte, at);
			old.fill(0, bytesRead);
			await files[1].read(now, 0, mebibyte, at);
			if (!now.equals(zeros) && !now.equals(old)) changed++;
		}
	} finally {
		for (const file of files) await file.close();
	}
	return changed;
}
