import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import { Negotiation } from './negotiation.ts';
import { continueBit, finalBit, noTag, opcode, rejectReason, TextRequest, TextResponse } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import { answerSendTargets } from './send-targets.ts';
import { formatText, type KeyValue, TextCollector } from './text.ts';

const nothing = Buffer.alloc(0);

/**
 * Text in full feature phase (RFC 7143 §6.4, §11.10, §11.11): one exchange at a time.
 *
 *   idle ── C ─→ collecting ── C* ─→ settled ── answer fits ─→ idle
 *                                       └── longer ─→ answering ── empty requests with our tag ─→ idle
 */
export class TextExchange {
	readonly #connection: Connection;
	readonly #negotiation: Negotiation;
	readonly #text = new TextCollector();
	#tag = noTag;
	#answer: Buffer = nothing;

	constructor(connection: Connection) {
		this.#connection = connection;
		this.#negotiation = new Negotiation(connection.parameters);
		this.#negotiation.kind({ discovery: connection.session!.target === undefined, leading: true });
	}

	request(bhs: Buffer, at: number, data: Uint8Array): void {
		const tag = TextRequest.targetTransferTag.get(bhs, at);
		const flags = bhs[at + 1]!;
		try {
			if (tag === noTag) this.#clear();
			else if (tag !== this.#tag) throw new ProtocolError('a text request with a tag that is not ours');
			if ((flags & continueBit) !== 0 && (flags & finalBit) !== 0) throw new ProtocolError('a text request with C and F');
			if (this.#answer.length > 0) {
				if (data.length > 0) throw new ProtocolError('text while our answer is under way');
			} else {
				this.#text.add(data);
				if ((flags & continueBit) === 0) this.#settle();
				else {
					this.#reply(bhs, at, nothing, true, false);
					return;
				}
			}
			const part = this.#answer.subarray(0, Math.min(this.#connection.parameters.maxRecvDataSegmentLength, limits.textPartBytes));
			this.#answer = this.#answer.subarray(part.length);
			this.#reply(bhs, at, part, this.#answer.length > 0 || (flags & finalBit) === 0, this.#answer.length > 0);
		} catch (error) {
			if (!(error instanceof ProtocolError)) throw error;
			this.#clear();
			this.#connection.control.reject(rejectReason.protocolError, bhs, at);
		}
	}

	#settle(): void {
		this.#negotiation.declared.clear();
		const answers: KeyValue[] = this.#negotiation.settle(this.#text.take(), 'fullFeature');
		const question = this.#negotiation.declared.get('SendTargets');
		if (question !== undefined) answers.push(...answerSendTargets(this.#connection, question));
		this.#answer = formatText(answers);
		if (this.#answer.length > limits.textAnswerBytes) throw new ProtocolError('an answer that is too long');
	}

	#reply(bhs: Buffer, at: number, data: Buffer, open: boolean, more: boolean): void {
		const { writer } = this.#connection;
		this.#tag = open ? this.#connection.nextTargetTransferTag() : noTag;
		const pdu = writer.control(opcode.textResponse, 0, TextRequest.initiatorTaskTag.get(bhs, at), data, true);
		pdu.buffer[pdu.at + 1] = (open ? 0 : finalBit) | (more ? continueBit : 0);
		TextResponse.targetTransferTag.set(pdu.buffer, pdu.at, this.#tag);
		writer.sendControl(pdu);
	}

	#clear(): void {
		this.#text.clear();
		this.#answer = nothing;
		this.#tag = noTag;
	}
}
