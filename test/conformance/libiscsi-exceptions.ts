/** Why a test of iscsi-test-cu does nothing here, or cannot pass. What is in neither table must pass. */
export interface Exceptions {
	/** Tests that skip themselves, by SUITE.TEST or SUITE, and why. */
	readonly skipped: Readonly<Record<string, string>>;
	/** Tests that skip a part of themselves in these words of theirs, by SUITE.TEST, and do the rest: they count as skipped. */
	readonly partly: Readonly<Record<string, string>>;
	/** Tests that pass or fail by how fast the machine is, by SUITE.TEST, and why. */
	readonly fast: Readonly<Record<string, string>>;
	/** Tests that ask for what their standard forbids, by SUITE.TEST, and the clause. */
	readonly contradicting: Readonly<Record<string, string>>;
}

const removable = 'the medium is not removable: RMB is 0';

const always: Exceptions = {
	skipped: {
		PreventAllow: removable,
		'StartStopUnit.Simple': removable,
		'Sanitize.CryptoErase': 'CRYPTOGRAPHIC ERASE is absent: volumes are not encrypted',
		'WriteSame10.ZeroBlocks': 'WSNZ is 1: a number of 0 that was meant as nothing shall not wipe the rest of the volume',
		'WriteSame16.ZeroBlocks': 'WSNZ is 1',
	},
	partly: {
		'Sanitize.Readonly': 'SANITIZE CRYPTO_ERASE is not implemented according to REPORT_SUPPORTED_OPCODES.',
		'Sanitize.Reservations': 'SANITIZE CRYPTO_ERASE is not implemented according to REPORT_SUPPORTED_OPCODES.',
	},
	fast: {
		'Sanitize.Reset':
			'it wants the operation to be under way three and more seconds after it was begun; SBC-4 has no least duration, and what this volume keeps is overwritten sooner',
	},
	contradicting: {
		'WriteAtomic16.Simple':
			'it sends up to 256 blocks whatever MAXIMUM ATOMIC TRANSFER LENGTH says; above it SBC-4, WRITE ATOMIC (16), has INVALID FIELD IN CDB',
	},
};

export const exceptions: Readonly<Record<512 | 4096, Exceptions>> = {
	512: {
		...always,
		contradicting: {
			...always.contradicting,
			'GetLBAStatus.UnmapSingle':
				'it asks from the second logical block of a physical block on and wants the first descriptor to begin at the next physical block; SBC-3, GET LBA STATUS, has it begin at STARTING LOGICAL BLOCK ADDRESS',
		},
	},
	4096: {
		...always,
		skipped: {
			...always.skipped,
			'CompareAndWrite.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame10.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame16.InvalidDataOutSize': 'a physical block is one logical block',
			'WriteSame10.UnmapUnaligned': 'a physical block is one logical block',
			'WriteSame16.UnmapUnaligned': 'a physical block is one logical block',
		},
	},
};
