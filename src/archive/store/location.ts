/** Where a repository is. Everything but the secret may be shown. */
export type StoreLocation = FolderLocation | S3Location;

export interface FolderLocation {
	readonly kind: 'folder';
	/** It has to exist: a folder that is made because a disk is not mounted hides the repository that is on the disk. */
	readonly path: string;
}

export interface S3Location {
	readonly kind: 's3';
	/** http(s)://HOST[:PORT]; without it, Amazon's of the region. */
	readonly endpoint?: string;
	readonly region: string;
	readonly bucket: string;
	/** Before every key: '' or segments, with a slash behind or without. */
	readonly prefix: string;
	/** The bucket in the path and not in the host's name: most servers but Amazon's want it. */
	readonly pathStyle: boolean;
	/** Both, or neither: then AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the process. */
	readonly accessKeyId?: string;
	readonly secretAccessKey?: string;
	/** PEM; certificates that are trusted beside the system's. */
	readonly caFile?: string;
}
