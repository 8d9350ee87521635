import type { ScsiTarget } from '../scsi/target-device.ts';
import type { ChapAccess } from './chap.ts';
import { ChapExchange, type Random, takeChapKeys } from './chap-exchange.ts';
import { limits } from './limits.ts';
import { Negotiation, ourDeclaration, type Phase } from './negotiation.ts';
import { defaultParameters, type Parameters } from './parameters.ts';
import { LoginRequest, loginStatus } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import type { Redirection, TargetRegistry } from './registry.ts';
import { formatText, type KeyValue, TextCollector } from './text.ts';

const stage = { security: 0, operational: 1, fullFeature: 3 } as const;
const nothing = Buffer.alloc(0);

/** What login asks of the world. */
export interface LoginEnvironment {
	readonly registry: TargetRegistry;
	/** False while the listener drains. */
	readonly accepting: boolean;
	/** The initiator's IP address. */
	readonly address: string;
	readonly random: Random;
	/** False for a target that the portal of this connection does not lead to. */
	leadsTo(target: ScsiTarget): boolean;
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
	/** More text follows when the initiator asks for it with an empty request (§6.2). */
	readonly more: boolean;
}

/** How an initiator proved itself. */
export type Authentication = 'none' | 'chap' | 'mutual';

/**
 * The target's side of login (RFC 7143 §6.3), one object for each connection, no I/O.
 *
 *   first ── CSG 0 ─→ security ── T, NSG 1 ─→ operational ── T, NSG 3 ─→ full feature
 *     │                  └───────── T, NSG 3 ──────────────────────────────↗
 *     └───── CSG 1 ─────────────────────────────↗
 *   any ── status class other than 0 ─→ over: the connection is closed behind the answer
 *
 * A request with the C bit is only collected; the text is settled when it is whole. An answer that is longer than a PDU leaves in parts, and T waits for the last.
 *
 * Invariant: an initiator that has to authenticate leaves the security stage when it has proved itself, and in no other way.
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
	#chap: ChapExchange | undefined;
	/** What of the last answer has not left yet. */
	#rest: Buffer = nothing;
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

	get authentication(): Authentication {
		if (this.#chap?.proved !== true) return 'none';
		return this.#chap.mutual ? 'mutual' : 'chap';
	}

	/** Asked when everything is settled: what let the initiator in may have changed since it named itself. The answer if it would not be let in now. */
	refusal(): LoginReply | undefined {
		const { target } = this;
		const refused = target === undefined ? undefined : this.#unwelcome(target);
		if (refused !== undefined) return refused;
		const { registry } = this.#environment;
		const demanded = target === undefined ? registry.discoveryChap() : registry.chapOf(this.initiatorName, target);
		return demanded !== undefined && this.authentication === 'none' ? this.#refuse(loginStatus.authenticationFailure) : undefined;
	}

	/** False while the initiator has to prove itself and has not. */
	get #mayLeave(): boolean {
		return this.#chap?.proved !== false;
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
		} else if (!this.#sameLogin(bhs, at) || this.#requests > limits.loginRequests) return this.#refuse(loginStatus.initiatorError);
		// §11.12.3: stage 2 does not exist, stages go forward, and T with C contradict each other.
		const known = currentStage === stage.security || currentStage === stage.operational;
		const forward = (nextStage === stage.operational || nextStage === stage.fullFeature) && nextStage > currentStage;
		if (!known || currentStage !== this.#stage || (transit && (more || !forward))) return this.#refuse(loginStatus.initiatorError);
		if (this.#rest.length > 0) {
			// §6.2: until the last part has left, the initiator has nothing to say.
			if (more || data.length > 0) return this.#refuse(loginStatus.initiatorError);
			return this.#answer(this.#rest, currentStage, nextStage, transit && this.#mayLeave);
		}
		this.#text.add(data);
		if (more) return { status: loginStatus.success, transit: false, currentStage, nextStage: 0, text: nothing, more: false };
		const pairs = this.#text.take();
		const answers: KeyValue[] = [];
		if (!this.#named) {
			const refused = this.#identify(pairs, answers);
			if (refused !== undefined) return refused;
		}
		const phase: Phase = currentStage === stage.security ? 'security' : 'operational';
		// Who has to authenticate does so in the security stage, so there is no other to begin with.
		if (phase === 'operational' && !this.#mayLeave) return this.#refuse(loginStatus.authenticationFailure);
		const { chap, others } = takeChapKeys(pairs);
		const settled = this.#negotiation.settle(others, phase);
		const method = phase === 'security' ? settled.find(([key]) => key === 'AuthMethod')?.[1] : undefined;
		if (method === 'Reject') return this.#refuse(loginStatus.authenticationFailure);
		answers.push(...settled);
		if (chap.size > 0) {
			// The method is agreed on first, in a text of its own.
			if (phase !== 'security' || this.#chap === undefined || method !== undefined || !this.#negotiation.wasSettled('AuthMethod'))
				return this.#refuse(loginStatus.initiatorError);
			const step = this.#chap.take(chap);
			if (typeof step === 'number') return this.#refuse(step);
			answers.push(...step);
		}
		const leaves = transit && this.#mayLeave;
		// An initiator that wants to go on without a word on how it authenticates will not authenticate.
		if (transit && !leaves && !this.#negotiation.wasSettled('AuthMethod')) return this.#refuse(loginStatus.authenticationFailure);
		if (!this.#declared && (currentStage === stage.operational || (leaves && nextStage === stage.fullFeature))) {
			this.#declared = true;
			answers.push(ourDeclaration);
		}
		return this.#answer(formatText(answers), currentStage, nextStage, leaves);
	}

	/** The next part of an answer; the transit that was asked for comes with the last. */
	#answer(whole: Buffer, currentStage: number, nextStage: number, transit: boolean): LoginReply {
		const text = whole.subarray(0, limits.loginDataSegmentLength);
		this.#rest = whole.subarray(text.length);
		const more = this.#rest.length > 0;
		const leaves = transit && !more;
		if (leaves) this.#stage = nextStage;
		return { status: loginStatus.success, transit: leaves, currentStage, nextStage: leaves ? nextStage : 0, text, more };
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

	/** The first text names initiator, kind of session and target (§6.3.1). Returns a refusal if they will not do. */
	#identify(pairs: readonly KeyValue[], answers: KeyValue[]): LoginReply | undefined {
		const said = (key: string) => pairs.find(([name]) => name === key)?.[1];
		const initiatorName = said('InitiatorName');
		if (initiatorName === undefined || initiatorName === '') return this.#refuse(loginStatus.missingParameter);
		const kind = said('SessionType') ?? 'Normal';
		if (kind !== 'Normal' && kind !== 'Discovery') return this.#refuse(loginStatus.sessionTypeNotSupported);
		this.discovery = kind === 'Discovery';
		// §4.2.7.2: two spellings are one name, and so one initiator port.
		this.initiatorName = initiatorName.toLowerCase();
		this.#named = true;
		const { registry } = this.#environment;
		if (this.discovery) this.#demand(registry.discoveryChap());
		else {
			const name = said('TargetName');
			if (name === undefined || name === '') return this.#refuse(loginStatus.missingParameter);
			const target = registry.find(name);
			if (target === undefined || !this.#environment.leadsTo(target)) return this.#refuse(loginStatus.notFound);
			const refused = this.#unwelcome(target);
			if (refused !== undefined) return refused;
			this.target = target;
			this.#demand(registry.chapOf(this.initiatorName, target));
			// §13.9: in the first response of a normal session.
			answers.push(['TargetPortalGroupTag', String(target.targetPortalGroupTag)]);
			if (target.alias !== undefined && target.alias !== '') answers.push(['TargetAlias', target.alias]);
		}
		if (this.tsih !== 0) {
			const session = this.#environment.sessionOf(this.initiatorName, this.isid, this.tsih);
			if (session === undefined || session.target !== this.target) return this.#refuse(loginStatus.sessionDoesNotExist);
			// MaxConnections is 1: the only connection that can come is the same again.
			if (!session.hasConnection(this.cid)) return this.#refuse(loginStatus.tooManyConnections);
			const { headerDigest, dataDigest, maxRecvDataSegmentLength } = defaultParameters();
			this.#parameters = { ...session.parameters, headerDigest, dataDigest, maxRecvDataSegmentLength };
			this.#negotiation = new Negotiation(this.#parameters);
		}
		const authMethod = this.#chap === undefined ? 'None' : 'CHAP';
		this.#negotiation.kind({ discovery: this.discovery, leading: this.tsih === 0, authMethod });
		return undefined;
	}

	/** The target is gone, does not admit the initiator, or is elsewhere. */
	#unwelcome(target: ScsiTarget): LoginReply | undefined {
		const { registry, address } = this.#environment;
		if (registry.find(target.name) !== target) return this.#refuse(loginStatus.notFound);
		if (!registry.admits({ initiatorName: this.initiatorName, address }, target)) return this.#refuse(loginStatus.authorizationFailure);
		const redirection = registry.redirection(target);
		return redirection === undefined ? undefined : this.#redirect(redirection);
	}

	#demand(access: ChapAccess | undefined): void {
		if (access !== undefined) this.#chap = new ChapExchange(access, this.#environment.random);
	}

	/** §11.13.5: the address goes with the status, without a portal group tag (§13.8). */
	#redirect({ address, permanent }: Redirection): LoginReply {
		const status = permanent ? loginStatus.targetMovedPermanently : loginStatus.targetMovedTemporarily;
		return { ...this.#refuse(status), text: formatText([['TargetAddress', address]]) };
	}

	#refuse(status: number): LoginReply {
		return { status, transit: false, currentStage: this.#stage & 3, nextStage: 0, text: nothing, more: false };
	}
}
