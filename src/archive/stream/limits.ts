/** Bounds of a stream of a device or an image. */

/** One read of the device. */
export const readBytes = 256 * 1024;
/** Reads that are under way or wait for whoever takes the stream: with the above, 2 MiB for each export. */
export const readsAhead = 8;
/** One write of the device; the engine takes no more. */
export const writeBytes = 1024 * 1024;
/** Writes that are under way, so 4 MiB for each import. */
export const writesAhead = 4;
/** Zeros inside of data are left out of a write from this length on. Shorter ones are written: a write in two costs more. */
export const zeroRunBytesMin = 64 * 1024;
/** The largest virtual disk that is read or written, as a volume's. */
export const diskBytesMax = 64 * 2 ** 40;
/** Of a qcow2 image that is read. QEMU takes no more either. */
export const levelOneBytesMax = 32 * 2 ** 20;
