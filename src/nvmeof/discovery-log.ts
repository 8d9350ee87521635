import { isIPv4 } from 'node:net';
import { bits, bytes, layout, reserved, u16le, u8 } from '../wire/layout.ts';
import { paddedText, terminatedText } from './identity.ts';
import { limits } from './limits.ts';
import { number64le } from './number-field.ts';
import type { Portal } from './registry.ts';

/** NVMe Base 2.0, Discovery Log Page (70h). */
export const DiscoveryLogHeader = layout('Discovery Log Page', 1024, {
	genctr: number64le(0),
	numrec: number64le(8),
	recfmt: u16le(16),
	reserved18: reserved(18, 1006),
});

export const DiscoveryLogEntry = layout('Discovery Log Page Entry', 1024, {
	trtype: u8(0),
	adrfam: u8(1),
	subtype: u8(2),
	secureChannel: bits(3, 0, 2),
	disableSQFlowControl: bits(3, 2, 1),
	portid: u16le(4),
	cntlid: u16le(6),
	asqsz: u16le(8),
	eflags: u16le(10),
	reserved12: reserved(12, 20),
	trsvcid: bytes(32, 32),
	reserved64: reserved(64, 192),
	subnqn: bytes(256, 256),
	traddr: bytes(512, 256),
	sectype: u8(768),
	reserved769: reserved(769, 255),
});

const tcp = 3;
const addressFamily = { ipv4: 1, ipv6: 2 } as const;
const nvmSubsystem = 2;
/** TREQ: nothing is said of a secure channel, since there is none (SECTYPE). `Not required` would say that one is possible. */
const secureChannelNotSpecified = 0;
const dynamicController = 0xffff;

/** The entries for these subsystems at these portals, seen from a host that came by `localAddress`. */
export function discoveryEntries(nqns: readonly string[], portals: readonly Portal[], localAddress: string): Buffer {
	const entries: Buffer[] = [];
	for (const [index, portal] of portals.entries()) {
		const address = reachableAddress(portal.host, localAddress);
		if (address === undefined) continue;
		for (const nqn of nqns) entries.push(entry(nqn, address, portal.port, index + 1));
	}
	return Buffer.concat(entries);
}

export function discoveryLog(genctr: number, entries: Buffer): Buffer {
	const header = Buffer.alloc(DiscoveryLogHeader.sizeBytes);
	DiscoveryLogHeader.genctr.set(header, 0, genctr);
	DiscoveryLogHeader.numrec.set(header, 0, entries.length / DiscoveryLogEntry.sizeBytes);
	return Buffer.concat([header, entries]);
}

function entry(nqn: string, address: string, port: number, portid: number): Buffer {
	const data = Buffer.alloc(DiscoveryLogEntry.sizeBytes);
	const fields = DiscoveryLogEntry;
	fields.trtype.set(data, 0, tcp);
	fields.adrfam.set(data, 0, isIPv4(address) ? addressFamily.ipv4 : addressFamily.ipv6);
	fields.subtype.set(data, 0, nvmSubsystem);
	fields.secureChannel.set(data, 0, secureChannelNotSpecified);
	fields.disableSQFlowControl.set(data, 0, 1);
	fields.portid.set(data, 0, portid);
	fields.cntlid.set(data, 0, dynamicController);
	fields.asqsz.set(data, 0, limits.queueDepth);
	fields.trsvcid.set(data, 0, paddedText(String(port), fields.trsvcid.size));
	fields.subnqn.set(data, 0, terminatedText(nqn, fields.subnqn.size));
	fields.traddr.set(data, 0, paddedText(address, fields.traddr.size));
	return data;
}

/**
 * What a host is told of a portal. One that listens on every address is told as the address by which this host came, which it can reach; one of the other address family is left out, because
 * nothing is known of how the host would reach it.
 */
function reachableAddress(host: string, localAddress: string): string | undefined {
	const local = localAddress.replace(/^::ffff:(?=\d+\.)/, '');
	if (host === '::') return local;
	if (host === '0.0.0.0') return isIPv4(local) ? local : undefined;
	return host;
}
