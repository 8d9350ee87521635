import { CommandWindow } from './command-window.ts';
import type { Connection, ConnectionEnvironment } from './connection.ts';
import { Login, type LoginReply } from './login.ts';
import * as pdu from './pdu.ts';
import { leadsTo } from './portal.ts';
import type { Session } from './session.ts';

const nothing = Buffer.alloc(0);
const fullFeatureStage = 3;
/** §11.13.5, the class of 0101h and 0102h. */
const redirectionClass = 1;

/** Login PDUs of one connection: hands requests to the Login machine, sends its answers, and gets the session at the end. */
export class LoginExchange {
	readonly #connection: Connection;
	readonly #environment: ConnectionEnvironment;
	readonly #login: Login;
	#begun = false;

	constructor(connection: Connection, environment: ConnectionEnvironment) {
		this.#connection = connection;
		this.#environment = environment;
		this.#login = new Login({
			registry: environment.registry,
			get accepting() {
				return environment.accepting;
			},
			address: connection.host.remoteAddress,
			random: (lengthBytes) => environment.random(lengthBytes),
			leadsTo: (target) => leadsTo(connection.host.portalGroupTag, target),
			sessionOf: (initiatorName, isid, tsih) => environment.sessions.sessionOf(initiatorName, isid, tsih),
		});
	}

	get cid(): number {
		return this.#login.cid;
	}

	/** A whole PDU before full feature phase. */
	take(bhs: Buffer, at: number, code: number, data: Buffer): void {
		const connection = this.#connection;
		if (code !== pdu.opcode.loginRequest) {
			// §6.3: nothing else may come before full feature phase.
			if (this.#begun) this.#refuse(pdu.loginStatus.invalidDuringLogin);
			else connection.lost('something other than a login request came first', false);
			return;
		}
		const login = this.#login;
		if (!this.#begun) {
			this.#begun = true;
			connection.writer.window = new CommandWindow(pdu.LoginRequest.cmdSN.get(bhs, at));
		}
		const reply = login.request(bhs, at, data);
		if (reply.status !== pdu.loginStatus.success) this.#refuse(reply.status, reply.text);
		else if (!reply.transit || reply.nextStage !== fullFeatureStage) this.#answer(reply, login.tsih);
		else {
			connection.join();
			this.#environment.sessions.establish(login, connection, this.#environment.now(), (result) => this.#joined(result, reply));
		}
	}

	#joined(result: Session | number, reply: LoginReply): void {
		const connection = this.#connection;
		if (typeof result === 'number') {
			if (!connection.closed) this.#refuse(result);
			return;
		}
		const refused = this.#login.refusal();
		if (connection.closed || refused !== undefined) {
			this.#environment.sessions.connectionGone(result, connection);
			if (!connection.closed && refused !== undefined) this.#refuse(refused.status, refused.text);
			return;
		}
		connection.writer.window = result.window;
		// Digests begin behind this answer (§13.1).
		this.#answer(reply, result.tsih);
		connection.enterFullFeaturePhase(result, this.#login.parameters);
		connection.statistics.logins++;
		this.#environment.log.info(
			{
				remote: connection.host.remote,
				initiator: result.initiatorName,
				target: result.target?.name,
				tsih: result.tsih,
				authentication: result.authentication,
			},
			result.target === undefined ? 'iSCSI discovery session' : 'iSCSI session',
		);
	}

	#answer(reply: LoginReply, tsih: number): void {
		const { writer } = this.#connection;
		const flags = (reply.transit ? pdu.finalBit : 0) | (reply.more ? pdu.continueBit : 0) | (reply.currentStage << 2) | reply.nextStage;
		const accepted = reply.status === pdu.loginStatus.success;
		const answer = writer.control(pdu.opcode.loginResponse, 0, this.#login.initiatorTaskTag, reply.text, accepted);
		const { buffer, at } = answer;
		buffer[at + 1] = flags;
		pdu.LoginResponse.isid.set(buffer, at, this.#login.isidBytes);
		pdu.LoginResponse.tsih.set(buffer, at, tsih);
		pdu.LoginResponse.statusClass.set(buffer, at, reply.status >> 8);
		pdu.LoginResponse.statusDetail.set(buffer, at, reply.status & 0xff);
		writer.sendControl(answer);
	}

	#refuse(status: number, text: Buffer = nothing): void {
		const connection = this.#connection;
		if (status >> 8 === redirectionClass) connection.statistics.loginsRedirected++;
		else connection.statistics.loginsRefused++;
		if (status === pdu.loginStatus.authenticationFailure) connection.statistics.authenticationFailures++;
		this.#environment.log.info(
			{ remote: connection.host.remote, initiator: this.#login.initiatorName, status: status.toString(16).padStart(4, '0') },
			status >> 8 === redirectionClass ? 'iSCSI login redirected' : 'iSCSI login refused',
		);
		this.#answer({ status, transit: false, currentStage: 0, nextStage: 0, text, more: false }, this.#login.tsih);
		connection.endSoon();
	}
}
