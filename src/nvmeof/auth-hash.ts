/** Hash functions of DH-HMAC-CHAP, the weaker first (NVMe Base 2.0, hash function identifiers). */
export type AuthHash = 'sha256' | 'sha384' | 'sha512';

export const hashes: Readonly<Record<AuthHash, { readonly hashID: number; readonly bytes: number }>> = {
	sha256: { hashID: 1, bytes: 32 },
	sha384: { hashID: 2, bytes: 48 },
	sha512: { hashID: 3, bytes: 64 },
};

export const hashNames = Object.keys(hashes) as readonly AuthHash[];
