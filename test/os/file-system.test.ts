import { tmpdir } from 'node:os';
import test from 'ava';
import { keeperOf, keepsOldBytes } from '../../src/os/file-system.ts';

test('file systems that keep what is overwritten are known by name, also where the magic number is signed; others are not', async (t) => {
	t.is(keeperOf(0x9123_683e), 'btrfs');
	t.is(keeperOf(0x9123_683e | 0), 'btrfs');
	t.is(keeperOf(0x2fc1_2fc1), 'ZFS');
	t.is(keeperOf(0xef53), undefined, 'ext4');
	t.is(keeperOf(0x5846_5342), undefined, 'XFS');
	await t.notThrowsAsync(keepsOldBytes(tmpdir()));
	await t.throwsAsync(keepsOldBytes('/does/not/exist'), { code: 'ENOENT' });
});
