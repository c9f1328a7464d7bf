-- Of a datastore on an S3 server: where (a document, without secrets), and the secret of its access key.
ALTER TABLE datastores ADD COLUMN s3 TEXT;
ALTER TABLE datastores ADD COLUMN s3_secret_sealed BLOB;

-- A password that a job is about. It goes when the job ends.
ALTER TABLE jobs ADD COLUMN secret_sealed BLOB;
