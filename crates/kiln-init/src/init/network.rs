//! The network: the loopback interface, and one with a fixed address.

use std::io;
use std::net::Ipv4Addr;

use kiln_init::cmdline::CommandLine;
use kiln_init::config::Network;
use kiln_sys::machine::{self, Interface};

use crate::{Failure, warn};

/// Where the kernel shows what its own `ip=` found.
const KERNEL_FOUND: &str = "/proc/net/pnp";

/// Brings the interfaces up. Returns the name servers that came with the address.
pub(crate) fn bring_up(
    network: Option<&Network>,
    line: &CommandLine,
) -> Result<Vec<Ipv4Addr>, Failure> {
    if let Err(error) = kiln_sys::sandbox::bring_loopback_up() {
        warn(format!("there is no loopback interface: {error}"));
    }
    if let Some(network) = network {
        configure(network)?;
    } else if let Some(found) = &line.network {
        let interface = Interface {
            name: &found.interface,
            address: found.address,
            prefix: found.prefix,
        };
        // Whoever starts the machine says this, not the disk: the program may run without.
        if let Err(error) = up(&interface, found.gateway) {
            warn(format!("`{}` is not up: {error}", found.interface));
        }
    }
    let mut servers = line
        .network
        .as_ref()
        .map_or_else(Vec::new, |network| network.nameservers.clone());
    servers.extend(kernel_nameservers());
    servers.dedup();
    if line.is_automatic && !std::path::Path::new(KERNEL_FOUND).exists() {
        warn("`ip=` asks for an address to be found, and this kernel can't (CONFIG_IP_PNP)");
    }
    Ok(servers)
}

fn configure(network: &Network) -> Result<(), Failure> {
    let invalid = || {
        Failure::machine(format!(
            "`{}` is no address with a prefix, as `10.0.0.2/24`",
            network.address
        ))
    };
    let (address, prefix) = network.address.split_once('/').ok_or_else(invalid)?;
    let address = address.parse().map_err(|_| invalid())?;
    let prefix = prefix.parse().map_err(|_| invalid())?;
    if prefix > 32 {
        return Err(invalid());
    }
    let gateway = match &network.gateway {
        None => None,
        Some(gateway) => Some(
            gateway
                .parse()
                .map_err(|_| Failure::machine(format!("the gateway `{gateway}` is no address")))?,
        ),
    };
    let interface = Interface {
        name: &network.interface,
        address,
        prefix,
    };
    up(&interface, gateway)
        .map_err(|error| Failure::machine(format!("`{}`: {error}", network.interface)))
}

fn up(interface: &Interface<'_>, gateway: Option<Ipv4Addr>) -> io::Result<()> {
    machine::configure_interface(interface)?;
    match gateway.map_or(Ok(()), machine::add_default_route) {
        // The kernel's own `ip=` was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn kernel_nameservers() -> Vec<Ipv4Addr> {
    let text = std::fs::read_to_string(KERNEL_FOUND).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver ")?.trim().parse().ok())
        .filter(|server: &Ipv4Addr| !server.is_unspecified())
        .collect()
}
