import { createHash } from 'node:crypto';
import test from 'ava';
import { parseContentRange, parseDigest } from '../../src/admin/byte-range.ts';
import type { ImportView } from '../../src/admin/stream-schemas.ts';
import { ApiError, type BytesAnswer, type BytesRequest } from '../../src/cli/api-client.ts';
import { Upload } from '../../src/cli/stream-upload.ts';
import { noise } from '../archive/stream/image-file.ts';

const mib = 2 ** 20;

/** The other side of an import, with its rules. */
class Receiver {
	readonly bytes: Buffer;
	readonly calls: string[] = [];
	offsetBytes = 0;
	/** Of each request: what is lost on the way, and what on the way back. */
	lose: (call: number) => 'request' | 'answer' | undefined = () => undefined;
	#call = 0;

	constructor(sizeBytes: number) {
		this.bytes = Buffer.alloc(sizeBytes, 0xee);
	}

	async bytesOf(method: string, path: string, { headers = {}, body = Buffer.alloc(0) }: BytesRequest = {}): Promise<BytesAnswer> {
		const lost = this.lose(this.#call++);
		if (lost === 'request') throw new ApiError('lost', 0);
		const name = path.split('/').at(-1) ?? '';
		if (name === 'data') {
			const range = parseContentRange(headers['content-range']);
			if (range === undefined || range.from !== this.offsetBytes || range.from % 4096 !== 0 || range.to - range.from !== body.length)
				throw new ApiError(`a part at ${range?.from}, and here is ${this.offsetBytes}`, 409);
			if (parseDigest(headers['content-digest'])?.equals(createHash('sha256').update(body).digest()) !== true)
				throw new ApiError('digest', 400);
			body.copy(this.bytes, range.from);
			this.offsetBytes = range.to;
			this.calls.push(`data ${body.length}`);
		} else if (name === 'zeros') {
			const { offsetBytes, lengthBytes } = JSON.parse(body.toString()) as { offsetBytes: number; lengthBytes: number };
			if (offsetBytes !== this.offsetBytes || offsetBytes % 4096 !== 0) throw new ApiError('zeros elsewhere', 409);
			this.bytes.fill(0, offsetBytes, offsetBytes + lengthBytes);
			this.offsetBytes += lengthBytes;
			this.calls.push(`zeros ${lengthBytes}`);
		} else this.calls.push(`${method} ${name}`);
		if (lost === 'answer') throw new ApiError('lost', 0);
		return { status: 200, headers: {}, trailers: {}, body: Buffer.from(JSON.stringify({ uuid: 'u', name: 'n' })) };
	}

	api(): ConstructorParameters<typeof Upload>[0] {
		const view = async (): Promise<never> => ({ offsetBytes: this.offsetBytes }) as never;
		return { bytes: (...words) => this.bytesOf(...words), get: view, post: view, delete: view };
	}
}

const begun = { id: 'i', name: 'n', uuid: 'u', offsetBytes: 0 } as ImportView;

test('long zeros are told, short ones sent; parts begin at whole pages whatever the image looks like', async (t) => {
	const receiver = new Receiver(40 * mib);
	const upload = new Upload(receiver.api(), begun);
	await upload.add({ lengthBytes: 1000, data: noise(1000, 1) });
	await upload.add({ lengthBytes: 5 * mib, data: undefined });
	await upload.add({ lengthBytes: 2 * mib, data: Buffer.alloc(2 * mib) });
	await upload.add({ lengthBytes: 300, data: noise(300, 2) });
	await upload.add({ lengthBytes: 65536, data: undefined });
	await upload.add({ lengthBytes: 9 * mib, data: noise(9 * mib, 3) });
	await upload.add({ lengthBytes: 3 * mib + 5, data: undefined });
	await upload.finish();
	const parts = [noise(1000, 1), Buffer.alloc(7 * mib), noise(300, 2), Buffer.alloc(65536), noise(9 * mib, 3), Buffer.alloc(3 * mib + 5)];
	const expected = Buffer.concat(parts);
	t.is(upload.offsetBytes, expected.length);
	t.true(receiver.bytes.subarray(0, expected.length).equals(expected));
	t.deepEqual(
		receiver.calls.map((call) => call.replace(/\d+$/, (bytes) => (Number(bytes) >= mib ? 'many' : 'few'))),
		['data few', 'zeros many', 'data many', 'data many', 'zeros many', 'data few', 'POST finish'],
	);
});

test('any mixture of data and zeros of any length arrives as it is', async (t) => {
	let state = 99;
	const random = (below: number): number => {
		state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
		return state % below;
	};
	for (let round = 0; round < 12; round++) {
		const receiver = new Receiver(64 * mib);
		const upload = new Upload(receiver.api(), begun);
		const all: Buffer[] = [];
		for (let count = 1 + random(8); count > 0; count--) {
			const lengthBytes = 1 + random([100, 5000, 70_000, 3 * mib][random(4)] ?? 1);
			const data = random(2) === 0 ? undefined : noise(lengthBytes + 8, random(1000)).subarray(1, 1 + lengthBytes);
			all.push(data ?? Buffer.alloc(lengthBytes));
			await upload.add({ lengthBytes, data });
		}
		await upload.finish();
		const expected = Buffer.concat(all);
		t.is(receiver.offsetBytes, expected.length);
		t.true(receiver.bytes.subarray(0, expected.length).equals(expected), `round ${round}`);
	}
});

test('a request or an answer that is lost is sent again only if it did not come', async (t) => {
	const receiver = new Receiver(40 * mib);
	receiver.lose = (call) => [undefined, 'answer', 'request', undefined, 'answer'][call] as 'request' | 'answer' | undefined;
	const upload = new Upload(receiver.api(), begun);
	const bytes = noise(17 * mib, 4);
	await upload.add({ lengthBytes: bytes.length, data: bytes });
	await upload.add({ lengthBytes: 2 * mib, data: undefined });
	await upload.finish();
	t.true(receiver.bytes.subarray(0, bytes.length).equals(bytes));
	t.deepEqual(receiver.calls, [`data ${8 * mib}`, `data ${8 * mib}`, `data ${mib}`, `zeros ${2 * mib}`, 'POST finish']);
});
