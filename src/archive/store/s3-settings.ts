import { readFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import { errorCode } from '../../os/disk.ts';
import type { S3Location } from './location.ts';
import { StoreError, checkPrefix } from './object-store.ts';

/** A location that has been looked at, with its credentials. */
export interface S3Settings {
	/** undefined: Amazon's of the region. */
	readonly endpoint: URL | undefined;
	/** For messages. */
	readonly endpointName: string;
	readonly region: string;
	readonly bucket: string;
	/** '' or with a slash behind. */
	readonly prefix: string;
	readonly pathStyle: boolean;
	readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
	/** All that are trusted; undefined: those that Node trusts. */
	readonly certificates: string[] | undefined;
}

/** The words of a location, the files that it names and the environment's credentials; asks no server. */
export async function s3Settings(location: S3Location, environment: NodeJS.ProcessEnv = process.env): Promise<S3Settings> {
	const { region, bucket, pathStyle } = location;
	const endpoint = location.endpoint === undefined ? undefined : endpointOf(location.endpoint);
	if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(region))
		throw new StoreError('invalid', `${JSON.stringify(region)} is no region; us-east-1 is one, and does for most servers but Amazon's`);
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
	if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
		throw new StoreError('invalid', `${JSON.stringify(bucket)} is no name of a bucket: 3 to 63 of a-z, 0-9, - and .`);
	}
	const prefix = location.prefix === '' || location.prefix.endsWith('/') ? location.prefix : `${location.prefix}/`;
	checkPrefix(prefix);
	return {
		endpoint,
		endpointName: endpoint?.origin ?? `Amazon S3 in ${region}`,
		region,
		bucket,
		prefix,
		pathStyle,
		credentials: credentialsOf(location, environment),
		certificates: location.caFile === undefined ? undefined : await certificatesOf(location.caFile),
	};
}

function endpointOf(text: string): URL {
	const url = URL.canParse(text) ? new URL(text) : undefined;
	if (
		url === undefined ||
		!['http:', 'https:'].includes(url.protocol) ||
		url.pathname !== '/' ||
		url.search !== '' ||
		url.hash !== '' ||
		url.username !== '' ||
		url.password !== ''
	) {
		throw new StoreError(
			'invalid',
			`${JSON.stringify(text.replace(/\/\/[^/@]*@/, '//'))} is no endpoint; http://HOST:PORT and https://HOST are`,
		);
	}
	return url;
}

function credentialsOf({ accessKeyId, secretAccessKey }: S3Location, environment: NodeJS.ProcessEnv): S3Settings['credentials'] {
	if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
		throw new StoreError('invalid', 'an access key id and a secret access key go together; one is missing');
	if (accessKeyId !== undefined && secretAccessKey !== undefined) return checked({ accessKeyId, secretAccessKey });
	const { AWS_ACCESS_KEY_ID: id = '', AWS_SECRET_ACCESS_KEY: secret = '', AWS_SESSION_TOKEN: token = '' } = environment;
	if (id === '' || secret === '') {
		throw new StoreError(
			'invalid',
			'no credentials: give an access key id and a secret access key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the process',
		);
	}
	return checked({ accessKeyId: id, secretAccessKey: secret, ...(token === '' ? {} : { sessionToken: token }) });
}

/** They go into a header. */
function checked(credentials: S3Settings['credentials']): S3Settings['credentials'] {
	for (const value of [credentials.accessKeyId, credentials.secretAccessKey, credentials.sessionToken ?? 'x']) {
		if (!/^[\x21-\x7e]{1,4096}$/.test(value))
			throw new StoreError('invalid', 'credentials are of printable ASCII characters without spaces; is there a line end too many?');
	}
	return credentials;
}

function parsed(text: string): X509Certificate {
	return new X509Certificate(text);
}

async function certificatesOf(path: string): Promise<string[]> {
	let text: string;
	try {
		text = await readFile(path, 'utf8');
	} catch (error) {
		if (errorCode(error) === '') throw error;
		throw new StoreError('invalid', `the CA file ${path} cannot be read (${errorCode(error)})`, { cause: error });
	}
	const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
	try {
		found.forEach(parsed);
	} catch (error) {
		throw new StoreError('invalid', `the CA file ${path} holds something that is no certificate`, { cause: error });
	}
	if (found.length === 0) throw new StoreError('invalid', `the CA file ${path} holds no certificate in PEM`);
	return [...getCACertificates('default'), ...found];
}
