import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';

/** Makes a bucket, as an operator would have done before. */
export async function createBucket(server: {
	endpoint: string;
	region: string;
	accessKeyId: string;
	secretAccessKey: string;
	bucket: string;
}): Promise<void> {
	const { endpoint, region, accessKeyId, secretAccessKey, bucket } = server;
	const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
	try {
		await client.send(new CreateBucketCommand({ Bucket: bucket }));
	} finally {
		client.destroy();
	}
}
