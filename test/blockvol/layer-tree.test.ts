import test from 'ava';
import { decodeTree, encodeTree, LayerTree, treeBytesMax, type Snapshot, type TreeLayer } from '../../src/blockvol/layer-tree.ts';
import { limits } from '../../src/blockvol/limits.ts';

const uuid = '2f0e9f5c-5b1d-4a6e-9a57-0d6c1f6f3b01';

function layer(id: number, parent: number): TreeLayer {
	return { id, parent, mapDigest: undefined };
}

function snapshot(id: number, of: number, name = `s${id}`): Snapshot {
	return { id, name, layer: of, timeMs: 1_700_000_000_000 + id, lsn: id * 64, sizeBytes: 4096 * id };
}

/** 1 ← 2 ← 3 (live), and 4 beside 3. */
const forked = new LayerTree(
	3,
	[layer(1, 0), { ...layer(2, 1), mapDigest: { low: 7, high: 0xfffffffe } }, layer(3, 2), layer(4, 2)],
	[snapshot(9, 1), snapshot(8, 4)],
	1,
);

test('a tree reads back as it was written, at its limits too', (t) => {
	const full = new LayerTree(
		limits.layersMax,
		Array.from({ length: limits.layersMax }, (_, at) => layer(at + 1, at)),
		Array.from({ length: limits.snapshotsMax }, (_, at) => snapshot(2 ** 48 - 1 - at, at + 1, `${at}-${'ä'.repeat(30)}`)),
		0,
	);
	for (const tree of [forked, full, LayerTree.single(1)]) {
		const bytes = encodeTree(tree, uuid, 5);
		t.true(bytes.length <= treeBytesMax);
		t.deepEqual(decodeTree(bytes, uuid, 5), tree);
	}
});

test('a damaged tree, one of another volume and one of another sequence are refused', (t) => {
	const bytes = encodeTree(forked, uuid, 5);
	for (let at = 0; at < bytes.length; at++) {
		const damaged = Buffer.from(bytes);
		damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at);
		t.is(typeof decodeTree(damaged, uuid, 5), 'string', `byte ${at}`);
	}
	t.is(typeof decodeTree(bytes, uuid, 6), 'string');
	t.is(typeof decodeTree(bytes, uuid.replace('2f', '3f'), 5), 'string');
	for (const length of [0, 63, 64, bytes.length - 1]) t.is(typeof decodeTree(bytes.subarray(0, length), uuid, 5), 'string');
});

test('what no tree can be is refused: circles, missing layers, two of one id, something on the live layer, names twice, too many', (t) => {
	const impossible: (() => LayerTree)[] = [
		() => new LayerTree(1, [layer(1, 0), layer(2, 3), layer(3, 2)], [], 0),
		() => new LayerTree(1, [layer(1, 1)], [], 0),
		() => new LayerTree(1, [layer(1, 2)], [], 0),
		() => new LayerTree(2, [layer(1, 0)], [], 0),
		() => new LayerTree(1, [layer(1, 0), layer(1, 0)], [], 0),
		() => new LayerTree(1, [layer(1, 0), layer(2, 1)], [], 0),
		() => new LayerTree(2, [layer(1, 0), layer(2, 1)], [snapshot(1, 1), snapshot(2, 1)], 0),
		() => new LayerTree(2, [layer(1, 0), layer(2, 1)], [snapshot(1, 2)], 0),
		() => new LayerTree(2, [layer(1, 0), layer(2, 1)], [snapshot(1, 5)], 0),
		() => new LayerTree(3, [layer(1, 0), layer(2, 1), layer(3, 2)], [snapshot(1, 1, 'a'), snapshot(2, 2, 'a')], 0),
		() => new LayerTree(2, [layer(1, 0), layer(2, 1)], [], 7),
		() =>
			new LayerTree(
				1,
				Array.from({ length: limits.layersMax + 1 }, (_, at) => layer(at + 1, at === 0 ? 0 : 2)),
				[],
				0,
			),
	];
	for (const [at, make] of impossible.entries()) t.throws(make, { instanceOf: RangeError }, String(at));
});

test('a cut freezes the live layer under a name; the parent of a snapshot is the nearest one below', (t) => {
	const a = { snapshot: { id: 5, name: 'a', timeMs: 1, lsn: 64, sizeBytes: 4096 }, newLive: 2, mapDigest: { low: 1, high: 2 } };
	const b = { snapshot: { id: 6, name: 'b', timeMs: 2, lsn: 128, sizeBytes: 4096 }, newLive: 3, mapDigest: undefined };
	const first = LayerTree.single(1).cut([a]);
	t.deepEqual(first.stack(2), [2, 1]);
	t.deepEqual(first.layer(1).mapDigest, { low: 1, high: 2 });
	const second = first.cut([b]);
	t.deepEqual(LayerTree.single(1).cut([a, b]), second);
	t.throws(() => first.cut([{ ...b, newLive: 1 }]), { instanceOf: RangeError });
	t.is(second.snapshotBelow(2)?.name, 'a');
	t.is(second.snapshotBelow(3)?.name, 'b');
	t.is(second.snapshotBelow(1), undefined);
	t.deepEqual(second.children(1), [2]);
	t.is(second.withoutSnapshot(5).snapshotBelow(2), undefined);
});
