import { limits } from './limits.ts';
import type { Namespace } from './namespace.ts';
import type { Subsystem } from './subsystem.ts';

const identifyBytes = 4096;

/** NIDT of the Namespace Identification Descriptor (NVMe Base 2.0). */
const descriptorType = { eui64: 1, nguid: 2, uuid: 3, commandSet: 4 } as const;

/** Namespace List: up to 1,024 NSIDs above the given one. */
export function namespaceList(subsystem: Subsystem, above: number): Buffer {
	const list = Buffer.alloc(identifyBytes);
	let at = 0;
	for (const nsid of subsystem.namespaces.keys()) if (nsid > above && at < identifyBytes) at = list.writeUInt32LE(nsid, at);
	return list;
}

/** Controller List: how many, and up to 2,047 CNTLIDs from the given one on. */
export function controllerList(subsystem: Subsystem, from: number): Buffer {
	const list = Buffer.alloc(identifyBytes);
	const ids = [...subsystem.controllers.keys()].filter((id) => id >= from).toSorted((a, b) => a - b);
	list.writeUInt16LE(ids.length, 0);
	for (const [index, id] of ids.entries()) list.writeUInt16LE(id, 2 + 2 * index);
	return list;
}
if (2 + 2 * limits.controllersPerSubsystem > identifyBytes) throw new Error('a Controller List has no room for all controllers');

/** Namespace Identification Descriptor list. */
export function namespaceDescriptors({ identity }: Namespace): Buffer {
	const list = Buffer.alloc(identifyBytes);
	Buffer.concat([
		descriptor(descriptorType.eui64, identity.eui64),
		descriptor(descriptorType.nguid, identity.nguid),
		descriptor(descriptorType.uuid, identity.uuid),
		descriptor(descriptorType.commandSet, Buffer.from([0])),
	]).copy(list);
	return list;
}

/** I/O Command Set data structure: combination 0 is the NVM Command Set alone, and there is no other. */
export function ioCommandSets(): Buffer {
	const vectors = Buffer.alloc(identifyBytes);
	vectors[0] = 1;
	return vectors;
}

function descriptor(nidt: number, nid: Buffer): Buffer {
	return Buffer.concat([Buffer.from([nidt, nid.length, 0, 0]), nid]);
}
