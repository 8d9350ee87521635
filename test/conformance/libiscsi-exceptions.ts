/** Why a test of iscsi-test-cu does nothing here, or cannot pass. What is in neither table must pass. */
export interface Exceptions {
	/** Tests that skip themselves, by SUITE.TEST or SUITE, and why. */
	readonly skipped: Readonly<Record<string, string>>;
	/** Tests that ask for what their standard forbids, by SUITE.TEST, and the clause. */
	readonly contradicting: Readonly<Record<string, string>>;
}

const removable = 'the medium is not removable: RMB is 0';
const sanitize = 'SANITIZE is absent: snapshots, the log and the disk below may keep what it would promise to destroy';

const always: Exceptions = {
	skipped: {
		PreventAllow: removable,
		'StartStopUnit.Simple': removable,
		Sanitize: sanitize,
		'WriteSame10.ZeroBlocks': 'WSNZ is 1: a number of 0 that was meant as nothing shall not wipe the rest of the volume',
		'WriteSame16.ZeroBlocks': 'WSNZ is 1',
	},
	contradicting: {
		'WriteAtomic16.Simple':
			'it sends up to 256 blocks whatever MAXIMUM ATOMIC TRANSFER LENGTH says; above it SBC-4, WRITE ATOMIC (16), has INVALID FIELD IN CDB',
	},
};

export const exceptions: Readonly<Record<512 | 4096, Exceptions>> = {
	512: {
		skipped: always.skipped,
		contradicting: {
			...always.contradicting,
			'GetLBAStatus.UnmapSingle':
				'it asks from the second logical block of a physical block on and wants the first descriptor to begin at the next physical block; SBC-3, GET LBA STATUS, has it begin at STARTING LOGICAL BLOCK ADDRESS',
		},
	},
	4096: {
		skipped: {
			...always.skipped,
			'CompareAndWrite.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame10.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame16.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame10.UnmapUnaligned': 'a physical block is one logical block',
			'WriteSame16.UnmapUnaligned': 'a physical block is one logical block',
		},
		contradicting: always.contradicting,
	},
};
