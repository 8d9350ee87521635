import { read16, synchronizeCache10, write16, writeSame16 } from '../test/initiator/cdb.ts';
import { connectionLost, scsiStatus, type Command } from '../test/initiator/command.ts';
import { InitiatorDisk } from '../test/initiator/disk.ts';
import { Session } from '../test/initiator/session.ts';
import type { Lane, LaneOptions, LaneOwner } from './lane.ts';

const unmapped = { unmap: true, noDataOut: true };

/** An iSCSI session of one connection. */
export class IscsiLane implements Lane<Command> {
	readonly blockSize: number;
	readonly sizeBytes: number;
	readonly #session: Session;
	readonly #luns: readonly number[];
	#turn = 0;

	static async open({ port, target, units, depth, lanes }: LaneOptions): Promise<IscsiLane[]> {
		const opened: IscsiLane[] = [];
		for (let index = 0; index < lanes; index++) {
			const session = await Session.open({ port, targetName: target, commandsMax: depth + 8 });
			// Each unit has its own unit attentions to clear.
			for (const lun of units) await new InitiatorDisk(session, lun).becomeReady();
			opened.push(new IscsiLane(session, units, await new InitiatorDisk(session, units[0]!).capacity()));
		}
		return opened;
	}

	private constructor(session: Session, luns: readonly number[], { blocks, blockSize }: { blocks: number; blockSize: number }) {
		this.#session = session;
		this.#luns = luns;
		this.blockSize = blockSize;
		this.sizeBytes = blocks * blockSize;
	}

	get outstanding(): number {
		return this.#session.outstanding;
	}

	get nowMs(): number {
		return this.#session.nowMs;
	}

	take(owner: LaneOwner<Command>): Command | undefined {
		const command = this.#session.take();
		if (command === undefined) return undefined;
		command.owner = owner;
		return command;
	}

	read(command: Command, lba: number, blocks: number): void {
		command.dataOutBytes = 0;
		command.dataInBytes = blocks * this.blockSize;
		read16(command.cdb, lba, blocks);
		this.#submit(command);
	}

	write(command: Command, lba: number, blocks: number): void {
		command.dataInBytes = 0;
		command.dataOutBytes = blocks * this.blockSize;
		write16(command.cdb, lba, blocks);
		this.#submit(command);
	}

	flush(command: Command): void {
		command.dataInBytes = 0;
		command.dataOutBytes = 0;
		synchronizeCache10(command.cdb);
		this.#submit(command);
	}

	zero(command: Command, lba: number, blocks: number): void {
		command.dataInBytes = 0;
		command.dataOutBytes = 0;
		writeSame16(command.cdb, lba, blocks, unmapped);
		this.#submit(command);
	}

	#submit(command: Command): void {
		command.lun = this.#luns[this.#turn]!;
		this.#turn = this.#turn + 1 === this.#luns.length ? 0 : this.#turn + 1;
		this.#session.submit(command);
	}

	fault(command: Command): string | undefined {
		if (command.status === scsiStatus.good && command.residual === 0) return undefined;
		if (command.status === connectionLost) return String(this.#session.ended);
		return `SCSI status ${command.status}, residual ${command.residual}, sense ${command.sense.toString('hex')}`;
	}

	async close(): Promise<void> {
		await this.#session.logout();
	}
}
