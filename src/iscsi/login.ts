import type { ScsiTarget } from '../scsi/target-device.ts';
import { Negotiation, ourDeclaration, type Phase } from './negotiation.ts';
import { defaultParameters, type Parameters } from './parameters.ts';
import { LoginRequest, loginStatus } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import type { TargetRegistry } from './registry.ts';
import { formatText, type KeyValue, TextCollector } from './text.ts';

const stage = { security: 0, operational: 1, fullFeature: 3 } as const;
const requestsMax = 64;
const nothing = Buffer.alloc(0);

/** What login asks of the world. */
export interface LoginEnvironment {
	readonly registry: TargetRegistry;
	/** False while the listener drains. */
	readonly accepting: boolean;
	/** The session that a non-zero TSIH names. */
	sessionOf(initiatorName: string, isid: string, tsih: number): ExistingSession | undefined;
}

export interface ExistingSession {
	readonly target: ScsiTarget | undefined;
	readonly parameters: Parameters;
	hasConnection(cid: number): boolean;
}

export interface LoginReply {
	readonly status: number;
	readonly transit: boolean;
	readonly currentStage: number;
	readonly nextStage: number;
	readonly text: Buffer;
}

/**
 * The target's side of login (RFC 7143 §6.3), one object for each connection, no I/O.
 *
 *   first ── CSG 0 ─→ security ── T, NSG 1 ─→ operational ── T, NSG 3 ─→ full feature
 *     │                  └───────── T, NSG 3 ──────────────────────────────↗
 *     └───── CSG 1 ─────────────────────────────↗
 *   any ── status class other than 0 ─→ over: the connection is closed behind the answer
 *
 * A request with the C bit is only collected; the text is settled when it is whole.
 */
export class Login {
	readonly #environment: LoginEnvironment;
	readonly #text = new TextCollector();
	#parameters = defaultParameters();
	#negotiation = new Negotiation(this.#parameters);
	#stage: number = stage.security;
	#requests = 0;
	#named = false;
	#declared = false;
	#isidBytes = nothing;
	initiatorName = '';
	target: ScsiTarget | undefined;
	discovery = false;
	tsih = 0;
	cid = 0;
	initiatorTaskTag = 0;
	/** The first command's CmdSN, as all login requests carry it. */
	cmdSN = 0;

	constructor(environment: LoginEnvironment) {
		this.#environment = environment;
	}

	get parameters(): Parameters {
		return this.#parameters;
	}

	/** 12 hex digits. */
	get isid(): string {
		return this.#isidBytes.toString('hex');
	}

	get isidBytes(): Buffer {
		return this.#isidBytes;
	}

	/** Takes one request; its answer comes back. */
	request(bhs: Buffer, at: number, data: Uint8Array): LoginReply {
		try {
			return this.#request(bhs, at, data);
		} catch (error) {
			if (!(error instanceof ProtocolError)) throw error;
			return this.#refuse(loginStatus.initiatorError);
		}
	}

	#request(bhs: Buffer, at: number, data: Uint8Array): LoginReply {
		const currentStage = LoginRequest.currentStage.get(bhs, at);
		const nextStage = LoginRequest.nextStage.get(bhs, at);
		const transit = LoginRequest.transit.get(bhs, at) === 1;
		const more = LoginRequest.continue.get(bhs, at) === 1;
		if (this.#requests++ === 0) {
			this.#remember(bhs, at);
			if (LoginRequest.versionMin.get(bhs, at) > 0) return this.#refuse(loginStatus.unsupportedVersion);
			if (!this.#environment.accepting) return this.#refuse(loginStatus.serviceUnavailable);
			this.#stage = currentStage;
		} else if (!this.#sameLogin(bhs, at) || this.#requests > requestsMax) return this.#refuse(loginStatus.initiatorError);
		// §11.12.3: stage 2 does not exist, stages go forward, and T with C contradict each other.
		const known = currentStage === stage.security || currentStage === stage.operational;
		const forward = (nextStage === stage.operational || nextStage === stage.fullFeature) && nextStage > currentStage;
		if (!known || currentStage !== this.#stage || (transit && (more || !forward))) return this.#refuse(loginStatus.initiatorError);
		this.#text.add(data);
		if (more) return { status: loginStatus.success, transit: false, currentStage, nextStage: 0, text: nothing };
		const pairs = this.#text.take();
		const answers: KeyValue[] = [];
		if (!this.#named) {
			const refused = this.#identify(pairs, answers);
			if (refused !== undefined) return this.#refuse(refused);
		}
		const phase: Phase = currentStage === stage.security ? 'security' : 'operational';
		const settled = this.#negotiation.settle(pairs, phase);
		if (phase === 'security' && settled.some(([key, value]) => key === 'AuthMethod' && value === 'Reject'))
			return this.#refuse(loginStatus.authenticationFailure);
		answers.push(...settled);
		if (!this.#declared && (currentStage === stage.operational || (transit && nextStage === stage.fullFeature))) {
			this.#declared = true;
			answers.push(ourDeclaration);
		}
		if (transit) this.#stage = nextStage;
		return { status: loginStatus.success, transit, currentStage, nextStage: transit ? nextStage : 0, text: formatText(answers) };
	}

	#remember(bhs: Buffer, at: number): void {
		this.#isidBytes = Buffer.from(LoginRequest.isid.get(bhs, at));
		this.tsih = LoginRequest.tsih.get(bhs, at);
		this.cid = LoginRequest.cid.get(bhs, at);
		this.initiatorTaskTag = LoginRequest.initiatorTaskTag.get(bhs, at);
		this.cmdSN = LoginRequest.cmdSN.get(bhs, at);
	}

	#sameLogin(bhs: Buffer, at: number): boolean {
		return (
			this.#isidBytes.equals(LoginRequest.isid.get(bhs, at)) &&
			this.tsih === LoginRequest.tsih.get(bhs, at) &&
			this.cid === LoginRequest.cid.get(bhs, at) &&
			this.initiatorTaskTag === LoginRequest.initiatorTaskTag.get(bhs, at)
		);
	}

	/** The first text names initiator, kind of session and target (§6.3.1). Returns a status if they will not do. */
	#identify(pairs: readonly KeyValue[], answers: KeyValue[]): number | undefined {
		const said = (key: string) => pairs.find(([name]) => name === key)?.[1];
		const initiatorName = said('InitiatorName');
		if (initiatorName === undefined || initiatorName === '') return loginStatus.missingParameter;
		const kind = said('SessionType') ?? 'Normal';
		if (kind !== 'Normal' && kind !== 'Discovery') return loginStatus.sessionTypeNotSupported;
		this.discovery = kind === 'Discovery';
		// §4.2.7.2: two spellings are one name, and so one initiator port.
		this.initiatorName = initiatorName.toLowerCase();
		this.#named = true;
		if (!this.discovery) {
			const name = said('TargetName');
			if (name === undefined || name === '') return loginStatus.missingParameter;
			const target = this.#environment.registry.find(name);
			if (target === undefined) return loginStatus.notFound;
			if (!this.#environment.registry.admits(initiatorName, target)) return loginStatus.authorizationFailure;
			this.target = target;
			// §13.9: in the first response of a normal session.
			answers.push(['TargetPortalGroupTag', String(target.targetPortalGroupTag)]);
			if (target.alias !== undefined && target.alias !== '') answers.push(['TargetAlias', target.alias]);
		}
		if (this.tsih !== 0) {
			const session = this.#environment.sessionOf(initiatorName, this.isid, this.tsih);
			if (session === undefined || session.target !== this.target) return loginStatus.sessionDoesNotExist;
			// MaxConnections is 1: the only connection that can come is the same again.
			if (!session.hasConnection(this.cid)) return loginStatus.tooManyConnections;
			const { headerDigest, dataDigest, maxRecvDataSegmentLength } = defaultParameters();
			this.#parameters = { ...session.parameters, headerDigest, dataDigest, maxRecvDataSegmentLength };
			this.#negotiation = new Negotiation(this.#parameters);
		}
		this.#negotiation.kind({ discovery: this.discovery, leading: this.tsih === 0 });
		return undefined;
	}

	#refuse(status: number): LoginReply {
		return { status, transit: false, currentStage: this.#stage & 3, nextStage: 0, text: nothing };
	}
}
