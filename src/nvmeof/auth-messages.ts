import { bytes, layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';

/** AUTH_TYPE and AUTH_ID (NVMe Base 2.0 §8.13). */
export const authType = { common: 0x00, dhchap: 0x01 } as const;
export const authID = {
	negotiate: 0x00,
	challenge: 0x01,
	reply: 0x02,
	success1: 0x03,
	success2: 0x04,
	failure2: 0xf0,
	failure1: 0xf1,
} as const;

/** The only authentication protocol that is defined: DH-HMAC-CHAP. */
export const dhchapProtocolID = 0x01;

/** RESCODE has one value. */
export const authenticationFailure = 0x01;

/** RESCODE_EXP, reason code explanation. */
export const explanation = {
	authenticationFailed: 0x01,
	protocolNotUsable: 0x02,
	secureChannelConcatenationMismatch: 0x03,
	hashNotUsable: 0x04,
	groupNotUsable: 0x05,
	incorrectPayload: 0x06,
	incorrectProtocolMessage: 0x07,
} as const;

export type Explanation = keyof typeof explanation;

/** What all messages begin with. */
export const authHead = layout('AUTH message', 6, { authType: u8(0), authID: u8(1), reserved2: reserved(2, 2), tID: u16le(4) });

export const authNegotiate = layout('AUTH_Negotiate', 8, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	scC: u8(6),
	napd: u8(7),
});

/** One for each protocol that AUTH_Negotiate names. */
export const dhchapDescriptor = layout('DH-HMAC-CHAP protocol descriptor', 64, {
	authID: u8(0),
	reserved1: reserved(1, 1),
	halen: u8(2),
	dhlen: u8(3),
	hashIDList: bytes(4, 30),
	dhgIDList: bytes(34, 30),
});

export const dhchapChallenge = layout('DH-HMAC-CHAP_Challenge', 16, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	hl: u8(6),
	reserved7: reserved(7, 1),
	hashID: u8(8),
	dhgID: u8(9),
	dhvlen: u16le(10),
	seqnum: u32le(12),
});

export const dhchapReply = layout('DH-HMAC-CHAP_Reply', 16, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	hl: u8(6),
	reserved7: reserved(7, 1),
	cvalid: u8(8),
	reserved9: reserved(9, 1),
	dhvlen: u16le(10),
	seqnum: u32le(12),
});

export const dhchapSuccess1 = layout('DH-HMAC-CHAP_Success1', 16, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	hl: u8(6),
	reserved7: reserved(7, 1),
	rvalid: u8(8),
	reserved9: reserved(9, 7),
});

export const dhchapSuccess2 = layout('DH-HMAC-CHAP_Success2', 16, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	reserved6: reserved(6, 10),
});

/** AUTH_Failure1, from the controller, and AUTH_Failure2, from the host. */
export const authFailure = layout('AUTH_Failure', 8, {
	authType: u8(0),
	authID: u8(1),
	reserved2: reserved(2, 2),
	tID: u16le(4),
	rescode: u8(6),
	rescodeExp: u8(7),
});
