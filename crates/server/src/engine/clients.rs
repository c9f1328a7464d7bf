//! Clients: added once a login has worked, checked, browsed, removed.

use xenkeep_api::{
    Client, ClientChange, ClientCheck, ClientId, ClientLimits, JobResult, JobSpec, NewClient, Node, PoolInventory,
    PoolVm, Problem, Transport, browse,
};
use xenkeep_catalog::NewJob;

use super::{Engine, names};
use crate::Error;

impl Engine {
    /// All clients, by name.
    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        Ok(self.0.catalog.clients().await?)
    }

    /// The client of a name or an id.
    pub async fn client(&self, name_or_id: &str) -> Result<Client, Error> {
        Ok(self.0.catalog.client(name_or_id).await?)
    }

    /// Adds a client: a mover logs in, the certificate is pinned; if that fails, nothing is left behind.
    pub async fn add_client(&self, new: NewClient) -> Result<Client, Error> {
        let client = Client {
            id: ClientId::random(),
            certificate_sha256: new.certificate_sha256.as_deref().map(names::fingerprint).transpose()?,
            name: new.name,
            address: new.address,
            user: new.user,
            transport: new.transport,
            pool: None,
            mover: new.mover,
            limits: ClientLimits::default(),
            created_at: self.0.clock.now(),
        };
        names::check_name("client", &client.name)?;
        names::check_address(&client.address)?;
        names::check_label("the user name", &client.user)?;
        check_password(new.password.expose())?;
        self.check_movers(client.mover.as_slice()).await?;
        check_trust(client.transport, new.trusted_network)?;
        let engine = self.clone();
        self.detached(async move {
            engine.0.catalog.insert_client(&client, &new.password).await?;
            engine.forget_roster();
            let check = JobSpec::CheckClient { client: client.id };
            match engine.run_short(check, &client.name).await {
                Ok(check) => {
                    let client = engine.client(&client.id.to_string()).await?;
                    if let Err(error) = engine.refuse_mover_on_host(&check).await {
                        engine.0.catalog.remove_client(&client).await?;
                        return Err(error);
                    }
                    Ok(client)
                }
                Err(error) => {
                    engine.0.catalog.discard_client(client.id).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Changes a client: what it is to become is tried with a login first, and only then takes the client's place.
    pub async fn set_client(&self, name_or_id: &str, change: ClientChange) -> Result<Client, Error> {
        let client = self.client(name_or_id).await?;
        let transport = change.transport.unwrap_or(client.transport);
        if transport == Transport::Http && client.transport != Transport::Http {
            check_trust(transport, change.trusted_network)?;
        }
        let elsewhere = change.address.as_ref().is_some_and(|address| *address != client.address);
        let kept = if elsewhere || change.pin_anew { None } else { client.certificate_sha256.clone() };
        let given = change.certificate_sha256.as_deref().map(names::fingerprint).transpose()?;
        let candidate = Client {
            id: ClientId::random(),
            // No client can have such a name, and two changes of one client exclude each other.
            name: format!("{} (changing)", client.name),
            address: change.address.unwrap_or(client.address),
            user: change.user.unwrap_or(client.user),
            certificate_sha256: given.or(kept).filter(|_| transport == Transport::Https),
            transport,
            pool: None,
            mover: client.mover.clone(),
            limits: client.limits,
            created_at: self.0.clock.now(),
        };
        names::check_address(&candidate.address)?;
        names::check_label("the user name", &candidate.user)?;
        let password = match change.password {
            Some(password) => {
                check_password(password.expose())?;
                password
            }
            None => self.0.catalog.client_access(client.id).await?.password,
        };
        let (engine, id) = (self.clone(), client.id);
        self.detached(async move {
            engine.0.catalog.insert_candidate(&candidate, &password).await?;
            let check = JobSpec::CheckClient { client: candidate.id };
            match engine.run_short(check, &client.name).await {
                Ok(check) => {
                    if let Err(error) = engine.refuse_mover_on_host(&check).await {
                        engine.0.catalog.discard_client(candidate.id).await?;
                        return Err(error);
                    }
                    engine.0.catalog.replace_client(id, candidate.id, &password).await?;
                    engine.client(&id.to_string()).await
                }
                Err(error) => {
                    engine.0.catalog.discard_client(candidate.id).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Looks at a client's pool from the outside in, and notes what it says of itself now. A login that fails is one of
    /// the things that are found.
    pub async fn check_client(&self, name_or_id: &str) -> Result<ClientCheck, Error> {
        let client = self.client(name_or_id).await?;
        let check = JobSpec::CheckClient { client: client.id };
        let job = self.queue(NewJob::new(check, &client.name)).await?.id;
        let ended = match self.see_through(job).await {
            Ok(job) => job,
            Err(Error::JobFailed(problem)) => {
                let job = self.0.catalog.job(job).await?;
                if job.result.is_none() {
                    return Err(Error::JobFailed(problem));
                }
                job
            }
            Err(error) => return Err(error),
        };
        self.refuse_mover_on_host(&ended).await?;
        let checks = match ended.result {
            Some(JobResult::Pool { checks, .. }) => checks,
            _ => Vec::new(),
        };
        let client = self.client(&client.id.to_string()).await?;
        Ok(ClientCheck { client, checks, problem: ended.problem })
    }

    /// All that is on a client's pool now.
    pub async fn inventory(&self, name_or_id: &str) -> Result<PoolInventory, Error> {
        let client = self.client(name_or_id).await?;
        let job = self.run_short(JobSpec::BrowseClient { client: client.id }, &client.name).await?;
        match job.result {
            Some(JobResult::Inventory { inventory }) => Ok(*inventory),
            _ => Ok(PoolInventory::default()),
        }
    }

    /// The VMs that are on a client's pool now.
    pub async fn vms(&self, name_or_id: &str) -> Result<Vec<PoolVm>, Error> {
        Ok(self.inventory(name_or_id).await?.vms)
    }

    /// A client's pool as a tree, from `path` on.
    pub async fn browse(&self, name_or_id: &str, path: &str) -> Result<Node, Error> {
        let client = self.client(name_or_id).await?;
        let tree = browse::tree(&client.name, &self.inventory(name_or_id).await?);
        browse::find(&tree, path).cloned().ok_or_else(|| {
            let shown: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
            let problem = Problem::new("browse.not_found", format!("there is nothing (or several things) at {}/{shown}", client.name));
            Error::NotFound(problem.hint(format!(
                "`xenkeep client browse {}` shows the tree; slashes in names are written %2F, and where several have one name, the uuid stands for it",
                client.name
            )))
        })
    }

    /// Sets how many jobs may work on a client's pool at once.
    pub async fn set_client_limits(&self, name_or_id: &str, limits: &ClientLimits) -> Result<Client, Error> {
        let client = self.client(name_or_id).await?;
        if [limits.jobs, limits.jobs_per_host, limits.jobs_per_sr].contains(&Some(0)) {
            let problem =
                Problem::new("client.bad_limit", "a limit of no job at all would have all of them wait for ever");
            return Err(Error::Invalid(problem.hint("give 1 or more, or none for what the server is set to")));
        }
        self.0.catalog.set_client_limits(client.id, limits).await?;
        self.0.work.notify_waiters();
        self.client(&client.id.to_string()).await
    }

    /// Forgets a client; its restore points stay. Refused while a job of it has not ended.
    pub async fn remove_client(&self, name_or_id: &str) -> Result<(), Error> {
        let client = self.client(name_or_id).await?;
        Ok(self.0.catalog.remove_client(&client).await?)
    }
}

/// Over http the password and all disks can be read by whoever is on the way: that is for the administrator to decide.
fn check_trust(transport: Transport, trusted_network: bool) -> Result<(), Error> {
    if transport == Transport::Http && !trusted_network {
        let problem = Problem::new(
            "client.network_not_trusted",
            "over http the password and all disks travel in clear text: say that the management network is trusted",
        );
        return Err(Error::Invalid(problem.hint(
            "xenkeep client add … --http --trusted-network; https needs no such word, but TLS can take most of a host's CPU",
        )));
    }
    Ok(())
}

fn check_password(password: &str) -> Result<(), Error> {
    if password.is_empty() || password.len() > 1024 || password.contains('\0') {
        let problem = Problem::new("client.bad_password", "a password has 1 to 1024 bytes, none of them zero");
        return Err(Error::Invalid(problem));
    }
    Ok(())
}
