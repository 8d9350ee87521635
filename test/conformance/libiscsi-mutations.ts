/** A deliberate breakage: a textual change of one source file that a test of iscsi-test-cu must notice. */
export interface SuiteMutation {
	readonly name: string;
	/** What the target does wrong with it. */
	readonly title: string;
	readonly file: string;
	readonly search: string;
	readonly replace: string;
	/** SUITE.TEST of the volume with 512-byte blocks. */
	readonly test: string;
}

export const mutations: readonly SuiteMutation[] = [
	{
		name: 'range',
		title: 'a range of no blocks may begin anywhere',
		file: 'src/scsi/block-range.ts',
		search: '	return blocks <= unit.blocks - lba;\n',
		replace: '	return blocks === 0 || blocks <= unit.blocks - lba;\n',
		test: 'Read10.ZeroBlocks',
	},
	{
		name: 'residual',
		title: 'no answer has a residual count',
		file: 'src/iscsi/residual.ts',
		search: '	if (due < expected) return { flags: underflowBit, count: expected - due };\n',
		replace: '',
		test: 'iSCSIResiduals.Read10Residuals',
	},
	{
		name: 'miscompare',
		title: 'COMPARE AND WRITE writes without comparing',
		file: 'src/scsi/compare-and-write.ts',
		search: 'unit.device.compareAndWrite(task.offsetBytes, data.subarray(0, half), ',
		replace: 'unit.device.write(task.offsetBytes, ',
		test: 'CompareAndWrite.Miscompare',
	},
	{
		name: 'swp',
		title: 'software write protect protects nothing',
		file: 'src/scsi/logical-unit.ts',
		search: 'return this.#readOnly || this.mode.isWriteProtected;',
		replace: 'return this.#readOnly;',
		test: 'ModeSense6.Control-SWP',
	},
	{
		name: 'copy',
		title: 'EXTENDED COPY takes every block for one that is not there',
		file: 'src/scsi/copy-range.ts',
		search: 'const step = extent.isMapped ? await move(',
		replace: 'const step = extent.isMapped && bytes < 0 ? await move(',
		test: 'ExtendedCopy.Simple',
	},
	{
		name: 'reset',
		title: 'a reset of the logical unit is told to nobody',
		file: 'src/scsi/logical-unit.ts',
		search: '		this.mode.reset();\n		this.#attentions.raiseForAll(\n',
		replace: "		this.mode.reset();\n		if (cause === 'target') this.#attentions.raiseForAll(\n",
		test: 'MultipathIO.Reset',
	},
	{
		name: 'erase',
		title: 'a block erase overwrites, and gives no space back',
		file: 'src/blockvol/sanitize.ts',
		search: '		if (isTrimmed) return emptyLayer(this.#disk, this.#directory, this.#superblock);\n',
		replace: '',
		test: 'Sanitize.BlockErase',
	},
	{
		name: 'opcode',
		title: 'ORWRITE is gone',
		file: 'src/scsi/commands.ts',
		search: '	orwrite16,\n	writeAndVerify16,\n',
		replace: '	writeAndVerify16,\n',
		test: 'OrWrite.Simple',
	},
];
