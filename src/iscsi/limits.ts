/** Every bound of the iSCSI transport. At a limit it pushes back: MaxCmdSN stops, an R2T is withheld, a socket is not read, a login is refused. */
export const limits = {
	/** TCP connections at once, logged in or not. One more is closed at once. */
	connections: 256,
	/** Of them, from one source address: room for its sessions and for logins that are under way or will be refused. */
	connectionsPerAddress: 144,
	/** Addresses to listen at. */
	portals: 16,
	/** Sessions at once, those included whose connection is gone and of which the device has commands. One more login gets 0302h, out of resources. */
	sessions: 256,
	/** Of them, from one source address. The same. */
	sessionsPerAddress: 128,
	/** Connections that the kernel may have accepted before we do. */
	backlog: 511,
	/** Commands of a session that are not immediate: the CmdSN window. */
	tasksPerSession: 128,
	/** SCSI commands with the I bit beyond them. One more is rejected. */
	immediateTasksPerSession: 8,
	/** PDUs of a connection that are taken before the others have their turn: many short ones are more work than few long ones. */
	pdusPerTurn: 512,
	/** PDUs with the I bit that are taken in one turn of a connection. One more is rejected. */
	immediatePDUsPerTurn: 64,
	/** Rejects that a connection may have got; each second takes one back. One more ends it: an initiator that goes on like that will not mend. */
	rejects: 32,
	/** Task management functions of a session that have no answer yet. */
	taskManagementPerSession: 8,
	/** PDUs held because a CmdSN before theirs is missing. One more costs the connection. */
	heldPDUs: 32,
	/** Data segment of a PDU that we take in full feature phase: the MaxRecvDataSegmentLength that we declare. */
	maxRecvDataSegmentLength: 256 * 1024,
	/** The same during login; RFC 7143 §13.12 fixes it. */
	loginDataSegmentLength: 8192,
	/** One text, over all its PDUs. */
	textBytes: 16 * 1024,
	/** Our answer to SendTargets, over all its PDUs: 256 targets with names of 223 bytes, each at 16 portals of IPv6, need 338,688. */
	textAnswerBytes: 384 * 1024,
	/** Of it, what one Text Response carries at most. */
	textPartBytes: 32 * 1024,
	/** RFC 7143 §6.1 and §4.2.7.1. */
	keyNameBytes: 63,
	iscsiNameBytes: 223,
	/** CHAP_C and CHAP_R, decoded (§12.1.3), and CHAP_N. */
	chapChallengeBytes: 1024,
	chapNameBytes: 255,
	/** Objects for commands, and for pieces of their data-out, that are kept for the next ones. */
	pooledTasks: 1024,
	pooledChunks: 1024,
	maxBurstLength: 16 * 1024 * 1024,
	firstBurstLength: 256 * 1024,
	maxOutstandingR2T: 8,
	/** Data in one Data-In PDU. */
	dataInBytes: 128 * 1024,
	/** Reads of one connection that wait for the medium, and their data until it has left. */
	readBytesAside: 4 * 1024 * 1024,
	/** Share of the memory budget that R2Ts may solicit, over all sessions: the rest is for data that comes unasked. */
	solicitedShare: 1 / 4,
	/**
	 * Share for unsolicited data that is not here with its command: who announces data and keeps it back cannot have the rest. Without what is reserved it takes the first bursts of 64
	 * writes of one initiator (8 sessions of 8).
	 */
	unsolicitedShare: 3 / 8,
	/** Share for reads that wait for the medium, and for their data until it has left: an initiator that does not read it cannot have the rest. */
	readShare: 1 / 4,
	/** Of each share, what is kept for initiators that hold nothing of it. */
	reservedOfShare: 1 / 4,
	/** What one session may have solicited, whatever the budget; all of an initiator's together have what FairShare leaves them. */
	solicitedBytesPerSession: 16 * 1024 * 1024,
	/** Login requests of one connection: more than any negotiation needs. */
	loginRequests: 64,
	/** From accept to full feature phase. */
	loginSeconds: 15,
	/** Silence after which we ping, and after which an unanswered ping ends the connection: an initiator that is suspended for a minute keeps its nexus. */
	pingSeconds: 15,
	pingAnswerSeconds: 60,
	/** From our request to log out to the end of the connection. */
	logoutSeconds: 10,
	/** A connection that holds memory for data that does not come, or does not read what we send, ends after this. */
	stalledSeconds: 30,
	/** The same while another initiator waits for memory; then less than contendedBytesPerSecond does not count as coming. */
	stalledContendedSeconds: 5,
	contendedBytesPerSecond: 64 * 1024,
	/** While one that holds nothing waits: nor does so little that what was announced or asked for would take longer than this. */
	starvedSeconds: 8,
} as const;
