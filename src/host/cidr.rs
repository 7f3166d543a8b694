//! Ranges of addresses, as networks are written down.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that begin with the same bits (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether an address is one of them. One of IPv4 inside IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.first.is_ipv4() == address.is_ipv4() && start(address, self.bits) == self.first
    }
}

/// An address with only so many of its first bits.
fn start(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "\"{text}\" is not an address or a network, try 127.0.0.1, 10.0.0.0/8 or fd00::/8"
            )
        };
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| refused())?;
        if bits > most {
            return Err(refused());
        }
        let first = start(address, bits);
        if first != address {
            return Err(format!(
                "\"{text}\" has more than {bits} bits, try {first}/{bits}"
            ));
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_addresses_that_begin_like_it() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "a00::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in cases {
            let network: Cidr = network.parse().unwrap();
            let contains = network.contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let cases = [
            ("10.0.0.1/8", "has more than 8 bits, try 10.0.0.0/8"),
            ("10.0.0.0/33", "is not an address or a network"),
            ("10.0.0.0/", "is not an address or a network"),
            ("10.0.0.0/-1", "is not an address or a network"),
            ("fd00::/129", "is not an address or a network"),
            ("proxy.example.com", "is not an address or a network"),
            ("10.0.0.1:80", "is not an address or a network"),
            ("", "is not an address or a network"),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<Cidr>().unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
