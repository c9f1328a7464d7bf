-- A point may hold a VM, the data of a pool or a host: what it was read from has a uuid and a name in each case.
ALTER TABLE points RENAME COLUMN vm_uuid TO source_uuid;
ALTER TABLE points RENAME COLUMN vm_name TO source_name;
-- What a pool's data or a host's backup holds, for people; JSON.
ALTER TABLE points ADD COLUMN summary TEXT;
