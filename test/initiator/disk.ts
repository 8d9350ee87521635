import * as cdbs from './cdb.ts';
import type { Command, CommandOwner } from './command.ts';
import { scsiStatus } from './command.ts';
import { InitiatorError, type Session } from './session.ts';

/** What became of a command, for tests: nothing here throws because of a status. */
export interface Result {
	status: number;
	sense: Buffer;
	residual: number;
	/** As many bytes as were received. */
	data: Buffer;
}

export interface Transfer {
	dataOut?: Buffer;
	dataInBytes?: number;
}

class Waiter implements CommandOwner {
	readonly #resolve: (result: Result) => void;

	constructor(resolve: (result: Result) => void) {
		this.#resolve = resolve;
	}

	finished(command: Command): void {
		const data = command.dataIn?.subarray(0, command.receivedBytes) ?? Buffer.alloc(0);
		this.#resolve({ status: command.status, sense: command.sense, residual: command.residual, data });
	}
}

/** Sense key, additional sense code and qualifier, of fixed or descriptor format (SPC-4 §4.5). */
export function senseCodes(sense: Buffer): { key: number; code: number; qualifier: number } {
	if (sense.length < 4) return { key: 0, code: 0, qualifier: 0 };
	if ((sense[0]! & 0x7f) >= 0x72) return { key: sense[1]! & 0x0f, code: sense[2]!, qualifier: sense[3]! };
	return { key: sense[2]! & 0x0f, code: sense[12] ?? 0, qualifier: sense[13] ?? 0 };
}

/** One logical unit as a test sees it: a promise for each command. The load generators use Session itself. */
export class InitiatorDisk {
	readonly session: Session;
	readonly lun: number;

	constructor(session: Session, lun: number) {
		this.session = session;
		this.lun = lun;
	}

	async execute(fill: (cdb: Uint8Array) => void, transfer: Transfer = {}): Promise<Result> {
		const command = this.session.take();
		if (command === undefined) throw new InitiatorError('every command of the session is in use');
		command.lun = this.lun;
		fill(command.cdb);
		if (transfer.dataOut !== undefined) {
			command.dataOut = transfer.dataOut;
			command.dataOutBytes = transfer.dataOut.length;
		}
		if (transfer.dataInBytes !== undefined) {
			command.dataIn = Buffer.alloc(transfer.dataInBytes);
			command.dataInBytes = transfer.dataInBytes;
		}
		return await new Promise((resolve) => {
			command.owner = new Waiter(resolve);
			this.session.submit(command);
		});
	}

	/** The same, for commands that a test takes for granted: throws unless the status is GOOD. */
	async expectGood(fill: (cdb: Uint8Array) => void, transfer: Transfer = {}): Promise<Buffer> {
		const result = await this.execute(fill, transfer);
		if (result.status === scsiStatus.good) return result.data;
		const { key, code, qualifier } = senseCodes(result.sense);
		throw new InitiatorError(`SCSI status ${result.status}, sense ${key.toString(16)}/${code.toString(16)}/${qualifier.toString(16)}`);
	}

	/** Clears the unit attentions that a new nexus starts with. */
	async becomeReady(): Promise<void> {
		for (let attempt = 0; attempt < 10; attempt++) {
			// Each answer clears one condition.
			const result = await this.execute(cdbs.testUnitReady);
			if (result.status === scsiStatus.good) return;
			if (result.status !== scsiStatus.checkCondition || senseCodes(result.sense).key !== 0x06) break;
		}
		await this.expectGood(cdbs.testUnitReady);
	}

	/** thin: LBPME; readsZeros: LBPRZ. */
	async capacity(): Promise<{ blocks: number; blockSize: number; thin: boolean; readsZeros: boolean }> {
		const data = await this.expectGood((cdb) => cdbs.readCapacity16(cdb), { dataInBytes: 32 });
		return {
			blocks: Number(data.readBigUInt64BE(0)) + 1,
			blockSize: data.readUInt32BE(8),
			thin: (data[14]! & 0x80) !== 0,
			readsZeros: (data[14]! & 0x40) !== 0,
		};
	}

	async inquiry(page?: number): Promise<Buffer> {
		return await this.expectGood((cdb) => cdbs.inquiry(cdb, page, 255), { dataInBytes: 255 });
	}

	async reportLUNs(): Promise<number[]> {
		const data = await this.expectGood((cdb) => cdbs.reportLUNs(cdb, 4096), { dataInBytes: 4096 });
		const luns: number[] = [];
		for (let at = 8; at < 8 + data.readUInt32BE(0); at += 8) luns.push(data.readUInt16BE(at) & 0x3fff);
		return luns;
	}

	async read(lba: number, blocks: number, blockSize: number): Promise<Buffer> {
		return await this.expectGood((cdb) => cdbs.read16(cdb, lba, blocks), { dataInBytes: blocks * blockSize });
	}

	async write(lba: number, data: Buffer, blockSize: number, fua = false): Promise<void> {
		await this.expectGood((cdb) => cdbs.write16(cdb, lba, data.length / blockSize, fua), { dataOut: data });
	}

	async flush(): Promise<void> {
		await this.expectGood((cdb) => cdbs.synchronizeCache10(cdb));
	}

	async unmap(ranges: readonly { lba: number; blocks: number }[]): Promise<void> {
		const dataOut = cdbs.unmapParameters(ranges);
		await this.expectGood((cdb) => cdbs.unmap(cdb, dataOut.length), { dataOut });
	}

	/** Without data: zeros, by NDOB. */
	async writeSame(lba: number, blocks: number, dataOut?: Buffer, unmap = false): Promise<void> {
		if (dataOut === undefined) await this.expectGood((cdb) => cdbs.writeSame16(cdb, lba, blocks, { unmap, noDataOut: true }));
		else await this.expectGood((cdb) => cdbs.writeSame16(cdb, lba, blocks, { unmap }), { dataOut });
	}
}
