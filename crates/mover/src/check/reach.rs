//! Names and ports, before anybody logs in.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::lookup_host, task::spawn_blocking, time::timeout};
use xapi::Address;
use xenkeep_api::{Check, ClientAccess, Transport};

use crate::problem;

/// A name server, or a host, that does not answer is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks up the client's address and tries its ports.
pub(super) async fn look(client: &ClientAccess) -> Vec<Check> {
    let default = if client.transport == Transport::Http { 80 } else { 443 };
    let address = match Address::parse(&client.address, default) {
        Ok(address) => address,
        Err(error) => {
            return vec![
                Check::failed("dns-forward", error.to_string())
                    .cure("give a host name or an IP address: HOST or HOST:PORT"),
                Check::skipped("dns-reverse", "there is no address"),
                Check::skipped("port-80", "there is no address"),
                Check::skipped("port-443", "there is no address"),
            ];
        }
    };
    let (forward, found) = forward(&address).await;
    let own_port = address.port != default;
    let (reverse, plain, secure) = tokio::join!(
        reverse(&address.host, found),
        port(client, &address, Transport::Http, own_port, found.is_some()),
        port(client, &address, Transport::Https, own_port, found.is_some()),
    );
    vec![forward, reverse, plain, secure]
}

/// The addresses of the name; the first of them.
async fn forward(address: &Address) -> (Check, Option<IpAddr>) {
    const ID: &str = "dns-forward";
    let host = &address.host;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return (Check::ok(ID, format!("{ip} is an address: there is no name to look up")), Some(ip));
    }
    let fail = |why: String| {
        Check::failed(ID, format!("the name {host} has no address: {why}"))
            .because("this machine asks its own name servers; others may know the name")
            .cure("add the name to DNS, or use the address itself: `xenkeep client set NAME --address IP`")
    };
    match timeout(PATIENCE, lookup_host((host.as_str(), address.port))).await {
        Err(_) => (fail(format!("no answer within {} s", PATIENCE.as_secs())), None),
        Ok(Err(error)) => (fail(error.to_string()), None),
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|socket: SocketAddr| socket.ip().to_canonical()).collect();
            found.dedup();
            let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
            match found.first() {
                Some(first) => (Check::ok(ID, format!("{host} is {}", shown.join(", "))), Some(*first)),
                None => (fail("there is none".to_owned()), None),
            }
        }
    }
}

/// The name of the address. Nothing of ours needs it, so it is a warning at most.
async fn reverse(host: &str, ip: Option<IpAddr>) -> Check {
    let Some(ip) = ip else { return Check::skipped("dns-reverse", "the name has no address") };
    let asked = spawn_blocking(move || dns_lookup::lookup_addr(&ip));
    let name = match timeout(PATIENCE, asked).await {
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Ok(Ok(name))) => Ok(name),
    };
    judge_reverse(host, ip, name)
}

/// What the name that `ip` has says of the name that was typed.
fn judge_reverse(host: &str, ip: IpAddr, name: Result<String, String>) -> Check {
    const ID: &str = "dns-reverse";
    let warning = |text: String| {
        Check::warning(ID, text)
            .because("xenkeep does not need it, but logs and certificates of the pool are easier to read with it")
            .cure("add a PTR record for the address")
    };
    // Without a name the answer is the address itself.
    let name = name.and_then(|name| match name.parse::<IpAddr>() {
        Ok(_) => Err("there is none".to_owned()),
        Err(_) => Ok(name),
    });
    match name {
        Err(why) => warning(format!("{ip} has no name: {why}")),
        Ok(name) if host.parse::<IpAddr>().is_ok() => Check::ok(ID, format!("{ip} is called {name}")),
        Ok(name) if same_name(host, &name) => Check::ok(ID, format!("{ip} is called {name}, as it should")),
        Ok(name) => warning(format!("{ip} is called {name}, not {host}")),
    }
}

/// The same name; one of them may lack its domain.
fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('.').to_lowercase(), b.trim_end_matches('.').to_lowercase());
    a == b || a.strip_prefix(&b).or_else(|| b.strip_prefix(&a)).is_some_and(|rest| rest.starts_with('.'))
}

/// The port of a transport.
async fn port(client: &ClientAccess, address: &Address, transport: Transport, own_port: bool, found: bool) -> Check {
    let (id, default, word) = match transport {
        Transport::Http => ("port-80", 80, "http"),
        Transport::Https => ("port-443", 443, "https"),
    };
    let used = client.transport == transport;
    if !found {
        return Check::skipped(id, "the name has no address");
    }
    if own_port && !used {
        return Check::skipped(id, format!("the client's address names port {} for all it needs", address.port));
    }
    let address = Address { port: if used { address.port } else { default }, ..address.clone() };
    match xapi::route(&address, PATIENCE).await {
        Ok(_) => Check::ok(id, format!("{address} answers")),
        Err(error) if used => Check::failed(id, problem::chain(&error))
            .because(format!("all calls and all data go through it: the client uses {word}"))
            .cure("is the address right, does the host run, and does a firewall let this machine through?"),
        Err(_) => Check::ok(id, format!("{address} does not answer; nothing needs it, the client does not use {word}")),
    }
}

#[cfg(test)]
mod tests {
    use xenkeep_api::CheckOutcome;

    use super::*;

    #[test]
    fn a_name_may_lack_its_domain() {
        assert!(same_name("lab", "lab.example.") && same_name("LAB.example", "lab"));
        assert!(!same_name("lab", "lab2") && !same_name("lab.example", "lab.other") && !same_name("la", "lab"));
    }

    #[test]
    fn the_reverse_name_is_a_warning_at_most() {
        let ip: IpAddr = [192, 0, 2, 1].into();
        let judge = |host: &str, name: Result<&str, &str>| {
            judge_reverse(host, ip, name.map(str::to_owned).map_err(str::to_owned))
        };
        assert_eq!(judge("lab.example", Ok("lab.example")).outcome, CheckOutcome::Ok);
        assert_eq!(judge("192.0.2.1", Ok("lab.example")).outcome, CheckOutcome::Ok);
        for name in [Ok("other.example"), Ok("192.0.2.1"), Err("no such name")] {
            let check = judge("lab.example", name);
            assert_eq!(check.outcome, CheckOutcome::Warning, "{check:?}");
            assert!(check.cure.is_some() && check.reason.is_some());
        }
    }
}
