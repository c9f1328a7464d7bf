-- Jobs that listed VMs: they are of no use to anybody, and their kind is no longer known.
DELETE FROM jobs WHERE kind = 'list-vms';
