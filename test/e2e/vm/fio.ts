import { expect } from '../../conformance/checks.ts';
import type { Finished } from './guest-shell.ts';
import type { Stage } from './stage.ts';

export interface FioJob {
	readonly name: string;
	readonly disk: string;
	/** As fio takes them, without the two dashes. */
	readonly options: Readonly<Record<string, string | number>>;
	/** write: and do not look; both: and read everything back; verify: what an earlier job of the same options wrote. */
	readonly phase: 'write' | 'both' | 'verify';
}

const phases: Readonly<Record<FioJob['phase'], readonly string[]>> = {
	write: ['--do_verify=0'],
	both: ['--do_verify=1'],
	verify: ['--verify_only=1'],
};

/** All sizes that a file system or database sends, 512 bytes to 4 MiB, at offsets that are multiples of 512. */
export const everySize = '512/15:1k/5:4k/30:16k/15:64k/10:256k/10:1m/8:4m/7';

export function fioCommand({ name, disk, options, phase }: FioJob): string {
	const all = {
		filename: disk,
		direct: 1,
		ioengine: 'libaio',
		iodepth: 32,
		// Contiguous memory, so that a command of 4 MiB fits into the kernel's list of segments.
		mem: 'mmap',
		verify: 'crc32c',
		verify_fatal: 1,
		// The same offsets and contents in a later job.
		randseed: 77,
		group_reporting: 1,
		...options,
	};
	const words = Object.entries(all).map(([option, value]) => `--${option}=${value}`);
	// The last write to a block counts: no two of one block may be on their way at once.
	const command = ['fio', `--name=${name}`, ...words, '--serialize_overlap=1', ...phases[phase]].join(' ');
	return `set -o pipefail; ${command} 2>&1 | grep -E 'err=|IOPS=|verify|fio:|error'`;
}

/** Runs a job to its end; rejects when fio found an error, or did not read what it was to verify. */
export async function fio(stage: Stage, job: FioJob, timeoutSeconds = 180): Promise<Finished> {
	const finished = await stage.run(fioCommand(job), { timeoutSeconds });
	expect(job.phase === 'write' || /read: IOPS=/.test(finished.output), 'fio verified nothing');
	return finished;
}
