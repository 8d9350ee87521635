import type { FabricsCommand } from './fabrics-commands.ts';
import { propertyOffset } from './properties.ts';
import { PropertyGetSQE, PropertySetSQE } from './sqe.ts';
import { status } from './status.ts';

/** ATTRIB, size of the property: 4 or 8 bytes. */
function sizeOf(code: number): number | undefined {
	return code === 0 ? 4 : code === 1 ? 8 : undefined;
}

/** NVMe Base 2.0, Property Get Command and Response. */
export const propertyGet: FabricsCommand = {
	name: 'Property Get',
	fctype: 0x04,
	from: 'connected',
	start(queue, request) {
		if (queue.qid !== 0) return request.end(status.invalidQueueType);
		const property = queue.controller!.properties.read(PropertyGetSQE.ofst.get(request.sqe, 0));
		if (property === undefined || property.length !== sizeOf(PropertyGetSQE.size.get(request.sqe, 0))) {
			return request.end(status.invalidField);
		}
		request.result0 = property.readUInt32LE(0);
		request.result1 = property.length === 8 ? property.readUInt32LE(4) : 0;
		return 'finished';
	},
};

/** NVMe Base 2.0, Property Set. CC is the only property that can be written. */
export const propertySet: FabricsCommand = {
	name: 'Property Set',
	fctype: 0x00,
	from: 'connected',
	start(queue, request) {
		if (queue.qid !== 0) return request.end(status.invalidQueueType);
		const { sqe } = request;
		if (PropertySetSQE.ofst.get(sqe, 0) !== propertyOffset.cc || sizeOf(PropertySetSQE.size.get(sqe, 0)) !== 4) {
			return request.end(status.invalidField);
		}
		const value = Number(PropertySetSQE.value.get(sqe, 0) & 0xffff_ffffn);
		return queue.controller!.configure(value) ? 'finished' : request.end(status.invalidField);
	},
};
