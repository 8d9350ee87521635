import { read16, synchronizeCache10, write16 } from '../test/initiator/cdb.ts';
import { connectionLost, scsiStatus, type Command } from '../test/initiator/command.ts';
import { InitiatorDisk } from '../test/initiator/disk.ts';
import { Session } from '../test/initiator/session.ts';
import type { Lane, LaneOptions, LaneOwner } from './lane.ts';

/** An iSCSI session of one connection. */
export class IscsiLane implements Lane<Command> {
	readonly blockSize: number;
	readonly sizeBytes: number;
	readonly #session: Session;
	readonly #lun: number;

	static async open({ port, target, unit, depth, lanes }: LaneOptions): Promise<IscsiLane[]> {
		const opened: IscsiLane[] = [];
		for (let index = 0; index < lanes; index++) {
			// oxlint-disable no-await-in-loop -- one after the other
			const session = await Session.open({ port, targetName: target, commandsMax: depth + 8 });
			const disk = new InitiatorDisk(session, unit);
			await disk.becomeReady();
			opened.push(new IscsiLane(session, unit, await disk.capacity()));
			// oxlint-enable no-await-in-loop
		}
		return opened;
	}

	private constructor(session: Session, lun: number, { blocks, blockSize }: { blocks: number; blockSize: number }) {
		this.#session = session;
		this.#lun = lun;
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
		command.lun = this.#lun;
		command.owner = owner;
		return command;
	}

	read(command: Command, lba: number, blocks: number): void {
		command.dataOutBytes = 0;
		command.dataInBytes = blocks * this.blockSize;
		read16(command.cdb, lba, blocks);
		this.#session.submit(command);
	}

	write(command: Command, lba: number, blocks: number): void {
		command.dataInBytes = 0;
		command.dataOutBytes = blocks * this.blockSize;
		write16(command.cdb, lba, blocks);
		this.#session.submit(command);
	}

	flush(command: Command): void {
		command.dataInBytes = 0;
		command.dataOutBytes = 0;
		synchronizeCache10(command.cdb);
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
