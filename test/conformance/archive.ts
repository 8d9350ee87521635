/**
 * Archives on a real appliance: a full backup and increments of a volume that is written to meanwhile, each restored and compared bit for bit, and what was sent compared with what had changed; then kill -9
 * of the appliance and of the S3 server at random moments of exports, restores, lazy fills, imports and collections; and what lies in the store at the end, beside what manifests reach. In a folder, and in OpenStack Swift by its S3 interface where that is installed.
 *
 *     node test/conformance/archive.ts [--stores folder,swift] [--increments 30] [--kills 16 [--only gc,lazy]] [--size-mib 16] [--seed N]
 *
 * ARCHIVE_KILLS and ARCHIVE_SEED do the same. Prints `ok - …` or `not ok - …` for each claim, and how many kills there were of what, and how many in the middle of it.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Operation, words } from './archive-kills.ts';
import { ArchiveLane, type LaneStore } from './archive-lane.ts';
import { startSwift, swiftIsMissing } from './swift.ts';

const { values } = parseArgs({
	options: {
		stores: { type: 'string', default: 'folder,swift' },
		increments: { type: 'string', default: '30' },
		kills: { type: 'string', default: process.env.ARCHIVE_KILLS ?? '16' },
		only: { type: 'string', default: Object.keys(words).join(',') },
		'size-mib': { type: 'string', default: '16' },
		seed: { type: 'string', default: process.env.ARCHIVE_SEED ?? String(Date.now() % 1_000_000_007) },
	},
});

/** The repository of a lane, and what ends it. */
async function storeOf(kind: string, folder: string): Promise<LaneStore> {
	if (kind === 'folder') {
		const path = join(folder, 'repository');
		await mkdir(path);
		return { kind, location: { kind: 'folder', path }, server: undefined };
	}
	const swift = await startSwift();
	const { endpoint, region, bucket, accessKeyId, secretAccessKey } = swift;
	const location = { kind: 's3', endpoint, region, bucket, prefix: 'lane', pathStyle: true, accessKeyId, secretAccessKey } as const;
	return { kind, location, server: swift };
}

let failures = 0;
console.log(`# seed ${values.seed}`);
for (const kind of values.stores.split(',')) {
	const missing = kind === 'swift' ? swiftIsMissing() : '';
	if (missing !== '') {
		console.log(`# ${kind}: skipped, not installed: ${missing}`);
		continue;
	}
	const folder = await mkdtemp(join(tmpdir(), 'blockport-archive-'));
	const store = await storeOf(kind, folder);
	const lane = new ArchiveLane({
		folder,
		store,
		seed: Number(values.seed),
		sizeBytes: Number(values['size-mib']) * 2 ** 20,
		increments: Number(values.increments),
		kills: Number(values.kills),
		only: values.only.split(',') as Operation[],
		claim: (text, fault) => {
			if (fault !== undefined) failures++;
			console.log(fault === undefined ? `ok - ${kind}: ${text}` : `not ok - ${kind}: ${text}: ${fault}`);
		},
		note: (text) => console.log(`# ${kind}: ${text}`),
	});
	try {
		await lane.run();
	} catch (error) {
		failures++;
		console.log(
			`not ok - ${kind}: the lane goes through to its end: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
		);
		console.log(lane.output);
	} finally {
		await lane.end();
		await store.server?.stop();
		await rm(folder, { recursive: true, force: true });
	}
}
process.exit(failures === 0 ? 0 : 1);
