import { pageBytes } from './limits.ts';

/** 4 KiB of zeros that nobody writes to. */
export const zeroPage: Buffer = Buffer.alloc(pageBytes);
