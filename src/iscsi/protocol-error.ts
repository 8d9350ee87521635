/** What a peer did against the standard; it costs a Reject, a login or the connection, and never more than that connection. */
export class ProtocolError extends Error {
	override readonly name = 'ProtocolError';
}
