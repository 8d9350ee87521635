import type { ExecutionContext } from 'ava';
import type { AuthSecrets } from '../../../src/nvmeof/auth-exchange.ts';
import { NvmeFabric } from '../../../src/nvmeof/fabric.ts';
import { NvmeListener } from '../../../src/nvmeof/listener.ts';
import type { Portal, SubsystemRegistry } from '../../../src/nvmeof/registry.ts';
import { Subsystem } from '../../../src/nvmeof/subsystem.ts';
import { silent } from '../../../src/os/logger.ts';
import { MemoryBudget } from '../../../src/os/memory-budget.ts';
import { Association, defaultHostNQN, type AssociationOptions } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { Namespace } from '../../nvme-host/namespace.ts';
import {
	capsuleCmd,
	described,
	icReq,
	RawConnection,
	type ICFields,
	type PDUForm,
	type ReceivedPDU,
} from '../../nvme-host/raw-connection.ts';
import { fes, pduType } from '../../nvme-host/wire.ts';
import { MemoryDevice, type MemoryDeviceOptions } from '../../scsi/memory-device.ts';

export const subnqn = 'nqn.2026-11.dev.blockport.test:one';
export const otherSubnqn = 'nqn.2026-11.dev.blockport.test:other';
export const closedSubnqn = 'nqn.2026-11.dev.blockport.test:closed';
export const strangerNQN = 'nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000beef';
const mebibyte = 1024 * 1024;
/** As ICReq and Connect of an orderly host have it. */
export const katoMs = 60_000;

class Registry implements SubsystemRegistry {
	readonly subsystems = new Map<string, Subsystem>();
	readonly #listeners = new Set<() => void>();

	find(nqn: string): Subsystem | undefined {
		return this.subsystems.get(nqn);
	}

	all(): readonly Subsystem[] {
		return [...this.subsystems.values()];
	}

	onChange(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	changed(): void {
		for (const listener of this.#listeners) listener();
	}
}

export interface WorldOptions extends MemoryDeviceOptions {
	budgetBytes?: number;
}

/**
 * A whole target in this process behind a TCP port: subsystem `one` with namespace 1 on a memory device for every host; `other` with namespaces 1 and 7 (512 and 4,096-byte blocks) and read-only 9;
 * `closed` for nobody but strangerNQN. Its clock stands still unless a test moves it.
 */
export class World {
	readonly registry = new Registry();
	readonly budget: MemoryBudget;
	readonly device: MemoryDevice;
	readonly subsystem: Subsystem;
	readonly fabric: NvmeFabric;
	readonly listener: NvmeListener;
	/** Of the fabric, in milliseconds. */
	nowMs = 1_000_000;
	port = 0;
	portals: Portal[] = [];
	readonly #t: ExecutionContext;
	#nextUUID = 1;

	static async open(t: ExecutionContext, options: WorldOptions = {}): Promise<World> {
		const world = new World(t, options);
		await world.listener.listen({ host: '127.0.0.1', port: 0 });
		world.port = world.listener.address.port;
		world.portals = [{ host: '127.0.0.1', port: world.port }];
		t.teardown(async () => await world.listener.close());
		return world;
	}

	private constructor(t: ExecutionContext, options: WorldOptions) {
		this.#t = t;
		this.budget = new MemoryBudget(options.budgetBytes ?? 64 * mebibyte);
		this.device = new MemoryDevice({ uuid: this.newUUID(), sizeBytes: 64 * mebibyte, ...options });
		this.subsystem = this.addSubsystem(subnqn);
		this.subsystem.addNamespace(1, this.device);
		const other = this.addSubsystem(otherSubnqn);
		other.addNamespace(1, new MemoryDevice({ uuid: this.newUUID(), sizeBytes: 8 * mebibyte }));
		other.addNamespace(7, new MemoryDevice({ uuid: this.newUUID(), sizeBytes: 8 * mebibyte, blockSize: 4096 }));
		other.addNamespace(9, new MemoryDevice({ uuid: this.newUUID(), sizeBytes: 8 * mebibyte }), { readOnly: true });
		this.addSubsystem(closedSubnqn, (host) => host === strangerNQN).addNamespace(1, new MemoryDevice({ uuid: this.newUUID() }));
		this.fabric = new NvmeFabric({ registry: this.registry, log: silent, now: () => this.nowMs, portals: () => this.portals });
		this.listener = new NvmeListener({ fabric: this.fabric, budget: this.budget, log: silent });
	}

	newUUID(): string {
		return `6b1d2f04-77a3-4c1e-9c55-${String(this.#nextUUID++).padStart(12, '0')}`;
	}

	addSubsystem(nqn: string, admits: (hostNQN: string) => boolean = () => true, secrets?: AuthSecrets): Subsystem {
		const subsystem = new Subsystem({ nqn, uuid: this.newUUID(), admits, secretFor: () => secrets });
		this.registry.subsystems.set(nqn, subsystem);
		this.registry.changed();
		return subsystem;
	}

	/** A host that is connected; its connections end with the test. */
	async connect(options: Partial<AssociationOptions> = {}): Promise<Association> {
		const association = await Association.open({ port: this.port, subnqn, katoMs, ...options });
		this.#t.teardown(() => association.destroy());
		return association;
	}

	async namespace(options: Partial<AssociationOptions> = {}, nsid = 1): Promise<Namespace> {
		return await Namespace.attach(await this.connect(options), nsid);
	}

	async raw(): Promise<RawConnection> {
		const connection = await RawConnection.open(this.port);
		this.#t.teardown(() => connection.destroy());
		return connection;
	}

	/** A raw connection that is initialised. */
	async initialised(fields: ICFields = {}): Promise<RawConnection> {
		const connection = await this.raw();
		connection.send(icReq(fields));
		await connection.expect(pduType.icResp);
		return connection;
	}

	/** A raw admin queue behind its Connect. */
	async rawAdmin(fields: ICFields = {}): Promise<RawConnection> {
		const connection = await this.initialised(fields);
		connection.send(connectCapsule(0, {}, formOf(fields)));
		const { status } = await connection.expect(pduType.capsuleResp);
		this.#t.is(status, 0);
		return connection;
	}

	/** A raw I/O queue, queue 2 of an association that goes on beside it. */
	async rawIO(
		fields: ICFields = {},
		connect: Partial<commands.ConnectFields> = {},
	): Promise<{ raw: RawConnection; association: Association }> {
		const association = await this.connect({ ioQueues: 2 });
		association.io[1]!.destroy();
		const raw = await this.initialised(fields);
		await this.connectRaw(raw, association, 2, connect, formOf(fields));
		return { raw, association };
	}

	/** Connects a raw connection as an I/O queue whose former connection may not be gone yet. */
	async connectRaw(
		raw: RawConnection,
		{ hostid, cntlid }: Association,
		qid: number,
		fields: Partial<commands.ConnectFields> = {},
		form: PDUForm = {},
	): Promise<void> {
		await this.until(async () => {
			raw.send(connectCapsule(qid, { hostid, cntlid, ...fields }, form));
			return (await raw.expect(pduType.capsuleResp)).status === 0;
		});
	}

	/** Waits for something that other sockets have to bring about. */
	async until(isSo: () => boolean | Promise<boolean>): Promise<void> {
		while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 1));
	}

	/** Lets time pass for the fabric, in seconds as its timers see it. */
	pass(seconds: number): void {
		for (let second = 0; second < seconds; second++) {
			this.nowMs += 1000;
			this.fabric.tick();
		}
	}
}

/** The digests that an ICReq agreed on, as a form of PDUs. */
export function formOf({ dgst = 0 }: ICFields): PDUForm {
	return { headerDigest: (dgst & 1) !== 0, dataDigest: (dgst & 2) !== 0 };
}

const rawHostID = Buffer.from('a1b2c3d4e5f60718293a4b5c6d7e8f90', 'hex');

/** A whole Connect with its data in the capsule; CID 99. */
export function connectCapsule(
	qid: number,
	fields: Partial<commands.ConnectFields & commands.ConnectData> = {},
	form: PDUForm = {},
): Buffer {
	const command = { recfmt: 0, qid, sqsize: 31, cattr: 0, kato: qid === 0 ? katoMs : 0, ...fields };
	const data = commands.connectData({ hostid: rawHostID, cntlid: 0xffff, subnqn, hostnqn: defaultHostNQN, ...fields });
	return capsuleCmd(
		described((sqe) => commands.connect(sqe, command), 99, data.length, true),
		data,
		form,
	);
}

/** What a C2HTermReq has to look like whatever it says, and that the connection ends behind it. */
export async function expectTermReq(
	t: ExecutionContext,
	raw: RawConnection,
	wanted: { fes: number | readonly number[]; fei?: number; quoted?: Buffer },
): Promise<ReceivedPDU> {
	const termReq = await raw.expect(pduType.c2hTermReq);
	const statuses: readonly number[] = typeof wanted.fes === 'number' ? [wanted.fes] : wanted.fes;
	const status = termReq.u16(8);
	t.true(statuses.includes(status), `FES ${status} is one of ${statuses.join(', ')}`);
	const hasInformation = status === fes.invalidPDUHeaderField || status === fes.headerDigestError || status === fes.unsupportedParameter;
	if (!hasInformation) t.is(termReq.u32(10), 0, 'FEI is reserved');
	else if (wanted.fei !== undefined) t.is(termReq.u32(10), wanted.fei, 'FEI');
	t.is(termReq.flags, 0);
	t.is(termReq.bytes[2], 24, 'HLEN');
	t.is(termReq.bytes[3], 0, 'PDO');
	t.true(termReq.bytes.length <= 152, 'PLEN');
	t.deepEqual(termReq.bytes.subarray(14, 24), Buffer.alloc(10), 'reserved bytes');
	if (wanted.quoted !== undefined) {
		const quote = termReq.bytes.subarray(24);
		t.true(quote.length >= 8, 'the PDU in error is given back, at least its common header');
		t.deepEqual(quote, wanted.quoted.subarray(0, quote.length));
	}
	t.is(await raw.next(), undefined, 'the connection ends');
	return termReq;
}

/** Bytes that differ from block to block and from call to call. */
export function content(lengthBytes: number, seed = 1): Buffer {
	const data = Buffer.allocUnsafe(lengthBytes);
	let x = (seed * 0x9e3779b9) | 1;
	for (let at = 0; at < lengthBytes; at += 4) {
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		data.writeInt32LE(x, at);
	}
	return data;
}
