//! Networks and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Args, Function, entry};
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("cidrhost", "sn", host),
    entry("cidrnetmask", "s", |args| {
        let network = parse(args.text(0))?;
        if network.bits != 32 {
            return Err(Fault::new("only IPv4 has netmasks"));
        }
        Ok(Value::text(&network.show(mask(&network, network.prefix))))
    }),
    entry("cidrsubnet", "snn", |args| {
        let network = parse(args.text(0))?;
        let subnet = subnet(&network, args.int(1)?, args.int(2)?)?;
        Ok(Value::text(&format!(
            "{}/{}",
            network.show(subnet.address),
            subnet.prefix
        )))
    }),
    entry("cidrsubnets", "s*n", subnets),
];

/// A network: the address in the low bits.
struct Network {
    address: u128,
    prefix: u32,
    bits: u32,
}

impl Network {
    fn show(&self, address: u128) -> String {
        if self.bits == 32 {
            Ipv4Addr::from(u32::try_from(address & u128::from(u32::MAX)).unwrap_or_default())
                .to_string()
        } else {
            Ipv6Addr::from(address).to_string()
        }
    }
}

fn mask(network: &Network, prefix: u32) -> u128 {
    let all = u128::MAX >> (128 - network.bits);
    all & !all.checked_shr(prefix).unwrap_or(0)
}

fn parse(text: &str) -> Outcome<Network> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let (address, bits) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= bits)?;
        let mut network = Network {
            address,
            prefix,
            bits,
        };
        network.address &= mask(&network, prefix);
        Some(network)
    });
    parsed.ok_or_else(|| Fault::new(format!("`{text}` is no network such as `10.0.0.0/8`")))
}

fn host(args: &Args<'_>) -> Outcome<Value> {
    let network = parse(args.text(0))?;
    let number = args.int(1)?;
    let last = (u128::MAX >> (128 - network.bits)) & !mask(&network, network.prefix);
    let wanted = u128::from(number.unsigned_abs());
    let offset = if number < 0 {
        (last + 1).checked_sub(wanted)
    } else {
        Some(wanted).filter(|at| *at <= last)
    };
    match offset {
        Some(offset) => Ok(Value::text(&network.show(network.address | offset))),
        None => Err(Fault::new(format!("the network has no host {number}"))),
    }
}

fn subnet(network: &Network, new_bits: i64, number: i64) -> Outcome<Network> {
    let prefix = u32::try_from(new_bits)
        .ok()
        .and_then(|bits| network.prefix.checked_add(bits));
    let Some(prefix) = prefix.filter(|prefix| *prefix <= network.bits) else {
        return Err(Fault::new(format!(
            "{new_bits} more bits don't fit after a prefix of {}",
            network.prefix
        )));
    };
    let new_bits = prefix - network.prefix;
    let number = u128::try_from(number)
        .ok()
        .filter(|number| new_bits >= 64 || *number < 1u128 << new_bits);
    let Some(number) = number else {
        return Err(Fault::new(format!(
            "{new_bits} bits can't hold that number of a network"
        )));
    };
    let offset = number.checked_shl(network.bits - prefix).unwrap_or(0);
    Ok(Network {
        address: network.address | offset,
        prefix,
        bits: network.bits,
    })
}

fn subnets(args: &Args<'_>) -> Outcome<Value> {
    let network = parse(args.text(0))?;
    let first_free = network.address;
    let end =
        network.address | !mask(&network, network.prefix) & (u128::MAX >> (128 - network.bits));
    let mut next = Some(first_free);
    let mut texts = Vec::new();
    for at in 1..args.all().len() {
        let sized = subnet(&network, args.int(at)?, 0)?;
        let length = 1u128.checked_shl(network.bits - sized.prefix).unwrap_or(0);
        let start = next.and_then(|next| match next.checked_rem(length) {
            None | Some(0) => Some(next),
            Some(rest) => next.checked_add(length - rest),
        });
        let last = start.and_then(|start| start.checked_add(length.wrapping_sub(1)));
        let (Some(start), Some(last)) = (start, last.filter(|last| *last <= end)) else {
            return Err(Fault::new(format!("not enough room for network {at}")));
        };
        texts.push(Value::text(&format!(
            "{}/{}",
            network.show(start),
            sized.prefix
        )));
        next = last.checked_add(1);
    }
    Ok(Value::list(Type::String, texts))
}
