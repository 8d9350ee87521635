import { limits as reservationLimits } from '../reservation/limits.ts';
import type { Registrant } from '../reservation/registrant.ts';
import { bits, u16be, u32be } from './field.ts';
import type { Nexus, TargetPort } from './nexus.ts';
import { registrantThrough } from './nexus.ts';
import { initiatorPortName } from './port-name.ts';
import { additionalSense, illegal, invalidFieldInParameterList } from './sense.ts';
import type { Sense } from './sense.ts';
import { parseTransportId } from './transport-id.ts';

/** SPC-4, PERSISTENT RESERVE OUT parameter list; both forms begin with RESERVATION KEY (bytes 0 to 7) and SERVICE ACTION RESERVATION KEY (8 to 15). */
const basic = {
	specIPt: bits(20, 3, 1),
	allTgPt: bits(20, 2, 1),
	aptpl: bits(20, 0, 1),
	/** Only with SPEC_I_PT; the TransportIDs follow. */
	transportIdsLength: u32be(24),
};
const basicLength = 24;
const transportIdsAt = 28;

/** Of REGISTER AND MOVE. */
const moving = {
	unreg: bits(17, 1, 1),
	aptpl: bits(17, 0, 1),
	relativeTargetPortIdentifier: u16be(18),
	transportIdLength: u32be(20),
};
const transportIdAt = 24;
const shortestTransportId = 24;

const registerAction = 0x00;
const registerAndMoveAction = 0x07;
const lengthError = illegal(additionalSense.parameterListLengthError);

/** The parameter list of a service action. Unless `wrong` is undefined, nothing else of it may be used. */
export class PersistentReserveList {
	static readonly shortestBytes = basicLength;
	/** Whether it is as long as it says, and without SPEC_I_PT where that means nothing. */
	readonly wrong: Sense | undefined;
	readonly #data: Buffer;
	readonly #moves: boolean;

	constructor(data: Buffer, serviceAction: number) {
		this.#data = data;
		this.#moves = serviceAction === registerAndMoveAction;
		this.wrong = this.#moves ? this.#wrongMove() : this.#wrongBasic(serviceAction);
	}

	get reservationKey(): bigint {
		return this.#data.readBigUInt64BE(0);
	}

	get serviceActionReservationKey(): bigint {
		return this.#data.readBigUInt64BE(8);
	}

	get aptpl(): boolean {
		return this.aptplField.get(this.#data) === 1;
	}

	get aptplField() {
		return this.#moves ? moving.aptpl : basic.aptpl;
	}

	get specIPt(): boolean {
		return basic.specIPt.get(this.#data) === 1;
	}

	get specIPtField() {
		return basic.specIPt;
	}

	get allTgPt(): boolean {
		return basic.allTgPt.get(this.#data) === 1;
	}

	/** UNREG of REGISTER AND MOVE. */
	get unregister(): boolean {
		return moving.unreg.get(this.#data) === 1;
	}

	/** The nexuses of SPEC_I_PT: each initiator port of the list with each of `ports`. An initiator without an ISID stands for those of its ports that are known, which are those of `nexuses`. */
	specified(ports: readonly (TargetPort | undefined)[], nexuses: Iterable<Nexus>): Registrant[] | Sense {
		const found = new Map<string, Registrant>();
		for (let at = transportIdsAt; at < this.#data.length;) {
			const parsed = parseTransportId(this.#data.subarray(at));
			if ('wrong' in parsed) return invalidFieldInParameterList(parsed.wrong, at);
			const { initiatorName, portName } = parsed.port;
			const names = portName === undefined ? knownPorts(initiatorName, nexuses) : [portName];
			for (const name of names) {
				for (const port of ports) {
					const registrant = registrantThrough(name, port);
					found.set(registrant.name, registrant);
				}
				if (found.size > reservationLimits.registrantsPerVolume) return illegal(additionalSense.insufficientRegistrationResources);
			}
			at += parsed.lengthBytes;
		}
		return [...found.values()];
	}

	/** Where REGISTER AND MOVE moves the reservation of `from`. Ports of other targets may have the same identifier as its own port, which then is meant. */
	destination(from: Nexus, ports: readonly TargetPort[]): Registrant | Sense {
		const identifier = moving.relativeTargetPortIdentifier.get(this.#data);
		const matching = ports.filter((port) => port.targetPortalGroupTag === identifier);
		const port = matching.find((one) => one === from.port) ?? (matching.length === 1 ? matching[0] : undefined);
		if (port === undefined) return invalidFieldInParameterList(moving.relativeTargetPortIdentifier);
		const parsed = parseTransportId(this.#data.subarray(transportIdAt));
		if ('wrong' in parsed) return invalidFieldInParameterList(parsed.wrong, transportIdAt);
		if (transportIdAt + parsed.lengthBytes !== this.#data.length) return invalidFieldInParameterList(moving.transportIdLength);
		const { portName } = parsed.port;
		const registrant = portName === undefined ? undefined : registrantThrough(portName, port);
		// One nexus has to be named, and another than this.
		if (registrant === undefined || registrant.name === from.registrant.name)
			return invalidFieldInParameterList({ byte: transportIdAt, bit: 7 });
		return registrant;
	}

	#wrongBasic(serviceAction: number): Sense | undefined {
		const data = this.#data;
		if (!this.specIPt) return data.length === basicLength ? undefined : lengthError;
		if (serviceAction !== registerAction) return invalidFieldInParameterList(basic.specIPt);
		if (data.length < transportIdsAt) return lengthError;
		return data.length === transportIdsAt + basic.transportIdsLength.get(data) ? undefined : lengthError;
	}

	#wrongMove(): Sense | undefined {
		const length = moving.transportIdLength.get(this.#data);
		if (length < shortestTransportId || length % 4 !== 0) return invalidFieldInParameterList(moving.transportIdLength);
		return this.#data.length === transportIdAt + length ? undefined : lengthError;
	}
}

function knownPorts(initiatorName: string, nexuses: Iterable<Nexus>): Set<string> {
	const names = new Set<string>();
	for (const nexus of nexuses) {
		if (nexus.initiatorName.toLowerCase() === initiatorName) names.add(initiatorPortName(nexus.initiatorName, nexus.isid));
	}
	return names;
}
