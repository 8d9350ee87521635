import { IscsiListener } from '../../src/iscsi/listener.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { FlatDevice } from './flat-device.ts';

/**
 * Serves volumes in memory for initiators run by hand: `node test/iscsi/serve-memory.ts [PORT] [MiB]`. Prints its port. With COLD=1 no read is answered at once.
 */
const port = Number(process.argv[2] ?? 0);
const sizeBytes = Number(process.argv[3] ?? 256) * 1024 * 1024;
const target = new ScsiTarget('iqn.2026-11.dev.blockport:memory');
const device = new FlatDevice({ sizeBytes });
device.recording = false;
device.cold = process.env['COLD'] === '1';
target.map(0, new LogicalUnit(device));
target.map(1, new LogicalUnit(new FlatDevice({ sizeBytes, blockSize: 4096, uuid: '0b6f3a52-6d0e-4c1b-8f0a-51c5a0c2d702' })));
const say = (level: string) => (about: Record<string, unknown>, message: string) => console.log(level, message, JSON.stringify(about));
const listener = new IscsiListener({
	registry: {
		find: (name) => (name === target.name ? target : undefined),
		visibleTo: () => [target],
		admits: () => true,
		chapOf: () => undefined,
		discoveryChap: () => undefined,
		redirection: () => undefined,
	},
	budget: new MemoryBudget(64 * 1024 * 1024),
	log: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
});
await listener.listen({ host: '127.0.0.1', port });
console.log(`listening ${listener.address.port}`);
process.on('SIGTERM', () => {
	void listener.drain(3000).then(() => {
		console.log(JSON.stringify(listener.statistics));
		process.exit(0);
	});
});
