//! Clients: added once a login has worked, checked, browsed, removed.

use xenkeep_api::{Client, ClientId, ClientLimits, JobResult, JobSpec, NewClient, PoolVm, Problem};

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

    /// Logs in to a client's pool and notes what it says of itself now.
    pub async fn check_client(&self, name_or_id: &str) -> Result<Client, Error> {
        let client = self.client(name_or_id).await?;
        let check = self.run_short(JobSpec::CheckClient { client: client.id }, &client.name).await?;
        self.refuse_mover_on_host(&check).await?;
        self.client(&client.id.to_string()).await
    }

    /// The VMs that are on a client's pool now.
    pub async fn vms(&self, name_or_id: &str) -> Result<Vec<PoolVm>, Error> {
        let client = self.client(name_or_id).await?;
        let job = self.run_short(JobSpec::ListVms { client: client.id }, &client.name).await?;
        match job.result {
            Some(JobResult::Vms { vms }) => Ok(vms),
            _ => Ok(Vec::new()),
        }
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

fn check_password(password: &str) -> Result<(), Error> {
    if password.is_empty() || password.len() > 1024 || password.contains('\0') {
        let problem = Problem::new("client.bad_password", "a password has 1 to 1024 bytes, none of them zero");
        return Err(Error::Invalid(problem));
    }
    Ok(())
}
