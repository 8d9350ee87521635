/** Bounds of DH-HMAC-CHAP. */
export const authLimits = {
	/** The longest message either way: a reply with ffdhe8192 is 1,168 bytes; a negotiation may name 63 protocols. */
	messageBytesMax: 4096,
	/** From Connect, and for a host that authenticates again from its negotiation, to the end of the exchange; then the queue goes. */
	exchangeSeconds: 30,
	/** Begun and not ended, over all queues: each holds a private key, and its steps take the processor for up to 7 ms (ffdhe8192). */
	exchangesMax: 64,
} as const;
