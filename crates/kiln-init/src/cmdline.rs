//! What kiln-init understands of the kernel command line.
//!
//! | word | meaning |
//! |---|---|
//! | `kiln.end=power-off`, `restart` or `exit` | how the machine ends, whatever the document says |
//! | `kiln.port=80` | report when something listens on this TCP port |
//! | `ip=client::gateway:netmask::interface:off:dns0:dns1` | the network, as the kernel's own `ip=` |
//! | `kiln.verity=HASH:OFFSET` | the root has to be verified: the root hash of its dm-verity tree, and the tree's place in bytes |
//! | `kiln.root=overlay` | the initial file system mounts memory over the root, for other first processes than kiln-init |
//! | `root=/dev/…`, `rootfstype=`, `ro`, `rw`, `init=`, and what follows `--` | as the kernel's own; read in an initial file system |
//! | `env.NAME=value`, `workdir=/path` | environment and directory, as builderd's init had them |
//!
//! Every process of a machine can read its command line, so secrets don't belong there; kiln itself
//! writes none of the last two.

use std::net::Ipv4Addr;

use crate::config::{Config, End};

/// Where the kernel shows its command line.
pub const PATH: &str = "/proc/cmdline";

/// The words that mean something here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// How the machine ends.
    pub end: Option<End>,
    /// The port to watch.
    pub port: Option<u16>,
    /// What `ip=` says, if it says an address.
    pub network: Option<KernelNetwork>,
    /// Whether `ip=` asks for an address to be found by DHCP or the like, which is the kernel's job.
    pub is_automatic: bool,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// The directory to start in.
    pub working_dir: Option<String>,
    /// How the root is verified.
    pub verity: Option<Verity>,
    /// What an initial file system does.
    pub root: RootLine,
}

/// How a root is verified; a word that can't be read verifies nothing, so it is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verity {
    /// The root hash, in hexadecimal digits, and where the tree begins, in bytes.
    Tree {
        /// The hash.
        root_hash: String,
        /// The place.
        offset: u64,
    },
    /// Something else.
    Unreadable(String),
}

/// What the command line says of the root and of what starts there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootLine {
    /// `root=`.
    pub device: Option<String>,
    /// `rootfstype=`.
    pub kind: Option<String>,
    /// Whether the last of `ro` and `rw` is `rw`.
    pub is_writable: bool,
    /// Whether memory is mounted over it.
    pub is_overlay: bool,
    /// `init=`.
    pub init: Option<String>,
    /// What the first process is given.
    pub arguments: Vec<String>,
}

/// The kernel's `ip=` with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelNetwork {
    /// `eth0` where it is not named.
    pub interface: String,
    /// The machine's address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix; 24 where there is no mask.
    pub prefix: u8,
    /// Where everything else is sent.
    pub gateway: Option<Ipv4Addr>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// Name servers.
    pub nameservers: Vec<Ipv4Addr>,
}

/// Reads a command line. What is not understood is somebody else's.
pub fn parse(text: &str) -> CommandLine {
    let mut result = CommandLine::default();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let Some((name, value)) = word.split_once('=') else {
            match word.as_str() {
                "ro" => result.root.is_writable = false,
                "rw" => result.root.is_writable = true,
                // What follows is for the first process, and none of this.
                "--" => result.root.arguments = words.by_ref().collect(),
                _ => {}
            }
            continue;
        };
        match name {
            "kiln.end" => result.end = end(value).or(result.end),
            "kiln.port" => result.port = value.parse().ok().or(result.port),
            "kiln.verity" => result.verity = Some(verity(value)),
            "kiln.root" => result.root.is_overlay = value == "overlay",
            "root" => result.root.device = Some(value.to_owned()),
            "rootfstype" => result.root.kind = Some(value.to_owned()),
            "init" => result.root.init = Some(value.to_owned()),
            "workdir" => result.working_dir = Some(value.to_owned()),
            "ip" => {
                result.network = network(value);
                let never = matches!(value, "" | "off" | "none");
                result.is_automatic = result.network.is_none() && !never;
            }
            _ => {
                let variable = name.strip_prefix("env.").filter(|name| !name.is_empty());
                result
                    .env
                    .extend(variable.map(|name| format!("{name}={value}")));
            }
        }
    }
    result
}

impl CommandLine {
    /// The configuration with what the command line says in its place.
    #[must_use]
    pub fn apply(&self, mut config: Config) -> Config {
        config.end = self.end.or(config.end);
        config.program.env.extend(self.env.iter().cloned());
        if let Some(path) = &self.working_dir {
            config.program.working_dir.clone_from(path);
        }
        if config.hostname.is_none() {
            config.hostname = self
                .network
                .as_ref()
                .and_then(|network| network.hostname.clone());
        }
        config
    }
}

/// Splits as the kernel does: at blanks outside double quotes, which are not part of the words.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for character in text.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            blank if blank.is_ascii_whitespace() && !is_quoted => {
                words.push(std::mem::take(&mut word));
            }
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn verity(value: &str) -> Verity {
    let tree = value.split_once(':').and_then(|(root_hash, offset)| {
        let is_hash = |byte: u8| byte.is_ascii_hexdigit();
        let is_right = !root_hash.is_empty() && root_hash.bytes().all(is_hash);
        Some(Verity::Tree {
            root_hash: is_right.then(|| root_hash.to_owned())?,
            offset: offset.parse().ok()?,
        })
    });
    tree.unwrap_or_else(|| Verity::Unreadable(value.to_owned()))
}

fn end(value: &str) -> Option<End> {
    match value {
        "power-off" => Some(End::PowerOff),
        "restart" => Some(End::Restart),
        "exit" => Some(End::Exit),
        _ => None,
    }
}

/// `client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1:ntp0`
fn network(value: &str) -> Option<KernelNetwork> {
    let fields: Vec<&str> = value.split(':').collect();
    let field = |at: usize| fields.get(at).copied().filter(|field| !field.is_empty());
    let address = |at: usize| field(at).and_then(|field| field.parse::<Ipv4Addr>().ok());
    Some(KernelNetwork {
        address: address(0).filter(|address| !address.is_unspecified())?,
        gateway: address(2),
        prefix: address(3).map_or(24, prefix_of),
        hostname: field(4).map(str::to_owned),
        interface: field(5).unwrap_or("eth0").to_owned(),
        nameservers: [7, 8].into_iter().filter_map(address).collect(),
    })
}

/// The length of the prefix that a mask has.
fn prefix_of(mask: Ipv4Addr) -> u8 {
    // At most 32.
    u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    #[test]
    fn builderds_words_and_quotes() {
        let line = parse(
            "console=ttyS0 root=/dev/vda rw pci=off init=/usr/bin/metald-init env.A=1 \
             env.lower=\"two words\" \"env.B=x  y\" env.=no workdir=/srv/my\n",
        );
        assert_eq!(line.env, ["A=1", "lower=two words", "B=x  y"]);
        assert_eq!(line.working_dir.as_deref(), Some("/srv/my"));
        assert_eq!(line.network, None);
    }

    #[test]
    fn our_words() {
        let line = parse("kiln.end=restart kiln.port=80 kiln.end=never -- kiln.end=exit");
        assert_eq!(line.end, Some(End::Restart));
        assert_eq!(line.port, Some(80));
    }

    #[test]
    fn the_root() {
        let line = parse(
            "root=/dev/vda rootfstype=erofs rw init=/sbin/init ro kiln.root=overlay \
             kiln.verity=0aF1:4096 -- one rw",
        );
        let expected = RootLine {
            device: Some("/dev/vda".into()),
            kind: Some("erofs".into()),
            is_writable: false,
            is_overlay: true,
            init: Some("/sbin/init".into()),
            arguments: vec!["one".into(), "rw".into()],
        };
        assert_eq!(line.root, expected);
        let root_hash = "0aF1".to_owned();
        let tree = Verity::Tree {
            root_hash,
            offset: 4096,
        };
        assert_eq!(line.verity, Some(tree));
        for wrong in ["", "0a", ":1", "0a:", "0g:1", "0a b:1"] {
            let line = parse(&format!("\"kiln.verity={wrong}\""));
            assert_eq!(line.verity, Some(Verity::Unreadable(wrong.into())));
        }
    }

    #[test]
    fn addresses() {
        let line = parse("ip=10.0.0.2::10.0.0.1:255.255.0.0:web:eth1:off:1.1.1.1:8.8.8.8");
        let network = line.network.unwrap();
        assert_eq!(network.interface, "eth1");
        assert_eq!(network.prefix, 16);
        assert_eq!(network.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(network.nameservers.len(), 2);
        let network = parse("ip=10.0.0.2").network.unwrap();
        assert_eq!((network.interface.as_str(), network.prefix), ("eth0", 24));
        assert!(parse("ip=dhcp").is_automatic);
        assert!(parse("ip=::::::dhcp").is_automatic);
        assert!(!parse("ip=off").is_automatic);
    }

    #[test]
    fn the_command_line_comes_last() {
        let mut config = Config::new(Program::new(vec!["/app".into()]));
        config.program.env = vec!["A=0".into()];
        let line = parse("env.A=1 workdir=/x kiln.end=exit ip=10.0.0.2::::name");
        let config = line.apply(config);
        assert_eq!(config.program.env, ["A=0", "A=1"]);
        assert_eq!(config.program.working_dir, "/x");
        assert_eq!(config.end, Some(End::Exit));
        assert_eq!(config.hostname.as_deref(), Some("name"));
    }
}
