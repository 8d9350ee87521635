/** Bounds of the NVMe/TCP transport; what a host is told of in Identify stands in limits.ts. At a limit it pushes back: an R2T is withheld, a socket is not read, a connection is closed at once. */
export const transportLimits = {
	/** TCP connections of a listener at once. One more is closed at once. 16 hosts with 16 I/O queues each need 272. */
	connections: 512,
	/** Of one source address over all listeners of a fabric. One more is closed at once. A host with 16 I/O queues to each of 15 subsystems needs 255. */
	connectionsPerAddress: 256,
	/** Connections that the kernel may have accepted before we do. */
	backlog: 511,
	/** PDUs of a connection that are taken before the others have their turn: many short ones are more work than few long ones. */
	pdusPerTurn: 512,
	/** Data in one H2CData: the MAXH2CDATA that we declare. No less than r2tBytes: Linux before 5.18 answers each R2T with one H2CData and does not look at MAXH2CDATA. */
	h2cDataBytes: 1024 * 1024,
	/** Data in one C2HData. */
	c2hDataBytes: 128 * 1024,
	/** What one R2T asks for, and the device gets in one write. */
	r2tBytes: 1024 * 1024,
	/** R2Ts of one command at once, if the host allows as many. */
	r2tsPerCommand: 8,
	/** R2Ts of one connection that the host has not fulfilled, those of aborted commands included. One more ends the connection. */
	r2tsPerConnection: 1024,
	/** Data of controllers (log pages and the like) that waits for room to transmit: above it the connection is not read. */
	waitingDataBytes: 1024 * 1024,
	/** Share of the memory budget that R2Ts may solicit, over all connections. */
	solicitedShare: 1 / 4,
	/** Share for capsules with more data than smallCapsuleBytes: who begins one and keeps the rest back cannot have all. */
	capsuleShare: 1 / 4,
	/** Data in a capsule up to this length takes what is free of the whole budget. 512 connections with one each come to 4 MiB. */
	smallCapsuleBytes: 8192,
	/** Of each share, what is kept for hosts that hold nothing of it. */
	reservedOfShare: 1 / 4,
	/** Share for reads that wait for the medium, and for their data until it has left: a host that does not read it cannot have the rest. */
	readShare: 1 / 4,
	/** What one connection may have solicited, and may have read, whatever the budget; all of a host's together have what FairShare leaves them. */
	solicitedBytesPerConnection: 8 * 1024 * 1024,
	readBytesPerConnection: 4 * 1024 * 1024,
	/** The same for what it has sent in larger capsules. */
	capsuleBytesPerConnection: 8 * 1024 * 1024,
	/** From accept to the end of Connect. */
	connectSeconds: 15,
	/** From our last word on a connection to its end: for a host that does not even read that. */
	closeSeconds: 10,
	/** A connection that holds memory for data that does not come, or does not read what we send, ends after this. */
	stalledSeconds: 30,
	/** The same while another host waits for memory; then less than contendedBytesPerSecond does not count as coming. */
	stalledContendedSeconds: 5,
	contendedBytesPerSecond: 64 * 1024,
	/** While one that holds nothing waits: nor does so little that what R2Ts have asked for would take longer than this. */
	solicitedStarvedSeconds: 8,
} as const;
