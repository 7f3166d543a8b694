//! Which addresses a tool may connect to.
//!
//! The author of a definition chooses the host, and no caller can: so the danger is a name that
//! leads elsewhere than its author thinks, by mistake or because somebody else changed it. What a
//! name leads to is therefore judged when a connection is made, on the address that is connected to.
//!
//! - Addresses of this link and of the cloud's own services hand out credentials of the machine to
//!   whoever asks, and are never what an author means: always refused. So is what is no address of
//!   one machine.
//! - Loopback and private addresses are where other services trust their neighbours. A name may lead
//!   there only if the author says `allow_private: true`. An address that stands in the definition
//!   itself, and `localhost`, need no second word.
//!
//! Addresses that hold an IPv4 address (mapped, NAT64, 6to4, Teredo, ISATAP) are judged by both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Into the internet.
    Public,
    /// To this machine.
    Loopback,
    /// Into a network that not everybody can reach.
    Private,
    /// Where no tool has any business.
    Never,
}

/// Where an address leads.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => reach_v6(address).max(reach_v4(inner)),
            None => reach_v6(address),
        },
    }
}

/// A network: its first address, and how many bits of it count.
struct Network<A>(A, u32);

/// What is not public of IPv4. The first that an address is in counts.
const V4: &[(Network<Ipv4Addr>, Reach)] = &[
    (Network(Ipv4Addr::new(127, 0, 0, 0), 8), Reach::Loopback),
    // "This network".
    (Network(Ipv4Addr::UNSPECIFIED, 8), Reach::Never),
    // Link-local, with the metadata of most clouds.
    (Network(Ipv4Addr::new(169, 254, 0, 0), 16), Reach::Never),
    // The metadata of Alibaba, the services of Azure, and among protocols the metadata of Oracle.
    (Network(Ipv4Addr::new(100, 100, 100, 200), 32), Reach::Never),
    (Network(Ipv4Addr::new(168, 63, 129, 16), 32), Reach::Never),
    (Network(Ipv4Addr::new(192, 0, 0, 0), 24), Reach::Never),
    // Multicast, reserved, broadcast.
    (Network(Ipv4Addr::new(224, 0, 0, 0), 3), Reach::Never),
    (Network(Ipv4Addr::new(10, 0, 0, 0), 8), Reach::Private),
    (Network(Ipv4Addr::new(172, 16, 0, 0), 12), Reach::Private),
    (Network(Ipv4Addr::new(192, 168, 0, 0), 16), Reach::Private),
    // Behind the NAT of a carrier.
    (Network(Ipv4Addr::new(100, 64, 0, 0), 10), Reach::Private),
    // Benchmarks, documentation.
    (Network(Ipv4Addr::new(198, 18, 0, 0), 15), Reach::Private),
    (Network(Ipv4Addr::new(192, 0, 2, 0), 24), Reach::Private),
    (Network(Ipv4Addr::new(198, 51, 100, 0), 24), Reach::Private),
    (Network(Ipv4Addr::new(203, 0, 113, 0), 24), Reach::Private),
];

/// As [`V4`], for IPv6.
const V6: &[(Network<Ipv6Addr>, Reach)] = &[
    (Network(Ipv6Addr::LOCALHOST, 128), Reach::Loopback),
    (Network(Ipv6Addr::UNSPECIFIED, 128), Reach::Never),
    // Link-local, multicast.
    (Network(v6(0xfe80, 0), 10), Reach::Never),
    (Network(v6(0xff00, 0), 8), Reach::Never),
    // The services of AWS, Google and Oracle for their machines.
    (Network(v6(0xfd00, 0xec2), 32), Reach::Never),
    (Network(v6(0xfd20, 0xce), 32), Reach::Never),
    (Network(v6(0xfd00, 0xc1), 32), Reach::Never),
    // Unique local, and what site-local was.
    (Network(v6(0xfc00, 0), 7), Reach::Private),
    (Network(v6(0xfec0, 0), 10), Reach::Private),
    // A NAT64 of somebody's own.
    (
        Network(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
        Reach::Private,
    ),
    // Documentation, discard.
    (Network(v6(0x2001, 0xdb8), 32), Reach::Private),
    (Network(v6(0x3fff, 0), 20), Reach::Private),
    (Network(v6(0x100, 0), 64), Reach::Private),
];

const fn v6(one: u16, two: u16) -> Ipv6Addr {
    Ipv6Addr::new(one, two, 0, 0, 0, 0, 0, 0)
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let holds = |Network(first, bits): &Network<Ipv4Addr>| {
        (address.to_bits() ^ first.to_bits()).leading_zeros() >= *bits
    };
    let mut networks = V4.iter();
    let found = networks.find(|(network, _)| holds(network));
    found.map_or(Reach::Public, |(_, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let holds = |Network(first, bits): &Network<Ipv6Addr>| {
        (address.to_bits() ^ first.to_bits()).leading_zeros() >= *bits
    };
    let mut networks = V6.iter();
    let found = networks.find(|(network, _)| holds(network));
    found.map_or(Reach::Public, |(_, reach)| *reach)
}

/// The IPv4 address that packets to this address end at.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // :: and ::1 are no compatible addresses (::/96).
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => return None,
        // Compatible, mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96); NAT64 (64:ff9b::/96 and
        // 64:ff9b:1::/48); 6to4 (2002::/16); ISATAP (RFC 5214).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0 | 1, .., high, low]
        | [0x2002, high, low, ..]
        | [.., 0 | 0x200, 0x5efe, high, low] => (high, low),
        // Teredo (2001::/32) hides the client's address by inverting it.
        [0x2001, 0, .., high, low] => (!high, !low),
        _ => return None,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

/// Whether a name is this machine, as RFC 6761 has it.
pub(super) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_in_every_disguise() {
        use Reach::{Loopback, Never, Private, Public};
        let cases = [
            ("93.184.216.34", Public),
            ("127.0.0.1", Loopback),
            ("127.255.0.9", Loopback),
            ("0.0.0.0", Never),
            ("0.1.2.3", Never),
            ("10.0.0.1", Private),
            ("172.15.0.1", Public),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.100.100.200", Never),
            ("168.63.129.16", Never),
            ("169.254.169.254", Never),
            ("192.0.0.192", Never),
            ("198.18.0.1", Private),
            ("203.0.113.9", Private),
            ("224.0.0.1", Never),
            ("240.0.0.1", Never),
            ("255.255.255.255", Never),
            ("2606:4700::1111", Public),
            ("::", Never),
            ("::1", Loopback),
            ("fe80::1", Never),
            ("febf::1", Never),
            ("ff02::1", Never),
            ("fd00:ec2::254", Never),
            ("fd20:ce::254", Never),
            ("fd12:3456::1", Private),
            ("fec0::1", Private),
            ("2001:db8::1", Private),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Never),
            ("::ffff:93.184.216.34", Public),
            ("::10.0.0.1", Private),
            ("::ffff:0:10.0.0.1", Private),
            ("64:ff9b::93.184.216.34", Public),
            ("64:ff9b::169.254.169.254", Never),
            ("64:ff9b::10.1.2.3", Private),
            ("64:ff9b:1::93.184.216.34", Private),
            ("2002:a9fe:a9fe::1", Never),
            ("2002:7f00:1::", Loopback),
            ("2002:5db8:d822::1", Public),
            // 169.254.169.254 inverted.
            ("2001:0:1:2:3:4:5601:5601", Never),
            ("2606:4700::5efe:10.0.0.1", Private),
            ("2606:4700::200:5efe:169.254.169.254", Never),
            ("fe80::5efe:93.184.216.34", Never),
        ];
        for (address, expected) in cases {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn localhost_has_many_spellings() {
        let cases = [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("a.localhost", true),
            ("localhost.example.com", false),
            ("notlocalhost", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_localhost(host), expected, "{host}");
        }
    }
}
