/**
 * The S3 store against real servers: the contract that every store keeps, what servers answer to mistakes, uploads in parts, and kill -9 of the server under load.
 *
 *     node test/conformance/archive-s3.ts [swift|radosgw]       S3_KILLS: how often the server is killed (3)
 *
 * With S3_ENDPOINT, S3_REGION, S3_BUCKET and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY set: against that server instead, without kills.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { CreateMultipartUploadCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import type { S3Location } from '../../src/archive/store/location.ts';
import { StoreError, type StoreErrorCode } from '../../src/archive/store/object-store.ts';
import { openStore } from '../../src/archive/store/open-store.ts';
import { contract, keys } from '../archive/store/contract.ts';
import { check, expect, finish } from './checks.ts';
import { startRadosgw } from './radosgw.ts';
import { type S3ServerUnderTest, startSwift } from './swift.ts';

const [kind = 'swift'] = process.argv.slice(2);
/** More than a page: Swift is started with pages of 100. */
const manyObjects = kind === 'radosgw' || process.env.S3_ENDPOINT !== undefined ? 1010 : 210;
const kills = Number(process.env.S3_KILLS ?? '3');
const {
	S3_ENDPOINT: endpoint,
	S3_REGION: region = 'us-east-1',
	S3_BUCKET: bucket = '',
	AWS_ACCESS_KEY_ID: accessKeyId = '',
	AWS_SECRET_ACCESS_KEY: secretAccessKey = '',
} = process.env;

if (endpoint !== undefined) {
	await lane({
		kind: 's3',
		endpoint,
		region,
		bucket,
		prefix: `blockport-test-${randomBytes(4).toString('hex')}`,
		pathStyle: true,
		accessKeyId,
		secretAccessKey,
	});
} else {
	const server = kind === 'radosgw' ? await startRadosgw() : await startSwift();
	console.log(`# ${server.name} at ${server.endpoint}`);
	try {
		await lane(locationOf(server));
		await killed(server);
	} finally {
		await server.stop();
	}
}
finish();

function locationOf(server: S3ServerUnderTest): S3Location {
	return {
		kind: 's3',
		endpoint: server.endpoint,
		region: server.region,
		bucket: server.bucket,
		prefix: 'one/repository',
		pathStyle: true,
		accessKeyId: server.accessKeyId,
		secretAccessKey: server.secretAccessKey,
	};
}

async function lane(location: S3Location): Promise<void> {
	const store = await openStore(location);
	console.log(`# ${store.name}: ${store.canPutIfAbsent ? 'puts if absent' : 'does not put if absent'}`);
	for (const { title, run } of contract) await check(title, () => run(store, 'contract'));
	await check('an upload of 21 MiB in parts comes back, and many objects are listed whole, in pages', async () => {
		const bytes = randomBytes((21 << 20) + 17);
		const begunMs = performance.now();
		await store.put('big/one', bytes);
		const putMs = performance.now() - begunMs;
		expect((await store.get('big/one'))?.equals(bytes) === true, 'other bytes came back');
		const names = Array.from({ length: manyObjects }, (_, index) => `many/${String(index).padStart(5, '0')}`);
		const rest = [...names];
		const putSome = async (): Promise<void> => {
			for (let name = rest.pop(); name !== undefined; name = rest.pop()) await store.put(name, Buffer.from(name));
		};
		await Promise.all(Array.from({ length: 8 }, putSome));
		const listed = await keys(store, 'many/');
		expect(listed.length === manyObjects && listed.every((key, index) => key === names[index]), `${listed.length} keys were listed`);
		return `${(21_000 / putMs).toFixed(0)} MiB/s`;
	});
	await check('an upload that nobody finished is in no list, and is cleaned up', () => unfinished(location));
	await check('a wrong secret, an unknown key id, no such bucket: said at the opening', async () => {
		await refused({ ...location, secretAccessKey: 'wrong' }, 'denied', /secret access key is wrong/);
		// Swift does not tell an unknown user from a wrong secret.
		await refused({ ...location, accessKeyId: 'nobody' }, 'denied', /access key/);
		await refused({ ...location, bucket: 'there-is-none' }, 'notFound', /there is no bucket there-is-none/);
	});
	await store.close();
}

async function refused(location: S3Location, code: StoreErrorCode, message: RegExp): Promise<void> {
	try {
		await openStore(location);
	} catch (error) {
		expect(error instanceof StoreError && error.code === code && message.test(error.message), String(error));
		return;
	}
	throw new Error('it was opened');
}

async function unfinished(location: S3Location): Promise<void> {
	const client = new S3Client({
		...(location.endpoint !== undefined && { endpoint: location.endpoint }),
		region: location.region,
		forcePathStyle: true,
		requestChecksumCalculation: 'WHEN_REQUIRED',
		credentials: { accessKeyId: location.accessKeyId ?? '', secretAccessKey: location.secretAccessKey ?? '' },
	});
	const store = await openStore(location);
	for (const prefix of [location.prefix, 'foreign']) {
		const upload = { Bucket: location.bucket, Key: `${prefix}/parts/one` };
		const { UploadId: id } = await client.send(new CreateMultipartUploadCommand(upload));
		await client.send(new UploadPartCommand({ ...upload, UploadId: id, PartNumber: 1, Body: Buffer.alloc(5 << 20, 1) }));
	}
	expect((await keys(store, 'parts/')).length === 0, 'it is listed');
	expect((await store.cleanUploads(3_600_000)) === 0, 'a young upload was taken away');
	const removed = await store.cleanUploads(-60_000);
	expect(removed === 1, `${removed} uploads were removed`);
	expect((await store.cleanUploads(-60_000)) === 0, 'it is there still');
	await store.close();
	client.destroy();
}

/** What put reported stored is there after kill -9 of the whole server, and the store goes on by itself when the server is back. */
async function killed(server: S3ServerUnderTest): Promise<void> {
	const store = await openStore(locationOf(server));
	for (let round = 1; round <= kills; round++) {
		await check(
			`kill -9 of the server under load, ${round}: what was stored is whole, what was under way is done when it is back`,
			async () => {
				const stored = new Map<string, Buffer>();
				const state = { writing: true };
				const write = async (writer: number): Promise<void> => {
					for (let index = 0; state.writing; index++) {
						const key = `killed/${round}/${writer}/${String(index).padStart(4, '0')}`;
						const bytes = randomBytes(1 + Math.floor(Math.random() * 1_500_000));
						await store.put(key, bytes);
						stored.set(key, bytes);
					}
				};
				const writers = Promise.all([0, 1, 2, 3].map(write));
				// A writer that fails ends the wait for what it will not store any more.
				const until = async (count: number): Promise<void> => {
					while (stored.size < count) await Promise.race([writers, wait(20)]);
				};
				await until(20);
				await server.kill();
				const before = stored.size;
				await server.restart();
				await until(before + 8);
				state.writing = false;
				await writers;
				for (const [key, bytes] of stored) expect((await store.get(key))?.equals(bytes) === true, `${key} is not what was stored`);
				return `${stored.size} objects, ${before} before the kill`;
			},
		);
	}
	await store.close();
}
