//! Whom a proxy that is trusted speaks for.
//!
//! Each proxy on the way adds the address that it was asked from at the end of a list. Whatever stands
//! left of an address that nobody vouches for may be invented, so that the list is read from its end.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::Connection;
use crate::host::Cidr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client behind proxies of these networks; `None` if there is no such proxy, or it
/// does not say clearly.
///
/// A proxy writes one of the two headers and may let the other one pass as it came. So if they say
/// different things, neither counts.
pub(super) fn client(
    proxies: &[Cidr],
    connection: &Connection,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_proxy(connection.peer?.ip()) {
        return None;
    }
    let plain = last_stranger(headers, &X_FORWARDED_FOR, address, is_proxy);
    let standard = last_stranger(headers, &FORWARDED, forwarded_for, is_proxy);
    match (plain, standard) {
        (Said::Nothing, Said::Address(client)) | (Said::Address(client), Said::Nothing) => {
            Some(client)
        }
        (Said::Address(one), Said::Address(other)) if one == other => Some(one),
        _ => None,
    }
}

/// What a header says of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Nonsense,
    Address(IpAddr),
}

/// The last address in a list that is not of a proxy; the first, if all of them are.
fn last_stranger(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Said {
    let mut said = Said::Nothing;
    for value in headers.get_all(name).iter().rev() {
        let Ok(value) = value.to_str() else {
            return Said::Nonsense;
        };
        for part in value.rsplit(',') {
            let Some(address) = read(part.trim()) else {
                return Said::Nonsense;
            };
            said = Said::Address(address);
            if !is_proxy(address) {
                return said;
            }
        }
    }
    said
}

/// Reads an address, perhaps with a port: that of IPv6 then stands in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    address
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .map(|address| address.to_canonical())
}

/// Reads the `for` of one element (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut values = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then_some(value.trim())
    });
    let value = values.next()?;
    let unquoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let only = values.next().is_none();
    address(unquoted.unwrap_or(value)).filter(|_| only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&HeaderName, &str)]) -> Option<String> {
        let proxies = ["10.0.0.0/8", "2001:db8::/64"].map(|network| network.parse().unwrap());
        let connection = Connection {
            peer: Some(SocketAddr::new(peer.parse().unwrap(), 1)),
            ..Connection::default()
        };
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).clone(), value.parse().unwrap()));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        client(&proxies, &connection, &all).map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_that_nobody_vouches_for_counts() {
        let cases = [
            ("203.0.113.9", Some("203.0.113.9")),
            ("198.51.100.1, 203.0.113.9", Some("203.0.113.9")),
            ("198.51.100.1,203.0.113.9,10.1.1.1", Some("203.0.113.9")),
            ("nonsense, 203.0.113.9, 10.1.1.1", Some("203.0.113.9")),
            ("10.2.2.2, 10.1.1.1", Some("10.2.2.2")),
            ("203.0.113.9:4711", Some("203.0.113.9")),
            ("2001:db8:1::7", Some("2001:db8:1::7")),
            ("[2001:db8:1::7]:80", Some("2001:db8:1::7")),
            ("[2001:db8:1::7]", Some("2001:db8:1::7")),
            ("::ffff:203.0.113.9", Some("203.0.113.9")),
            ("203.0.113.9, nonsense", None),
            ("203.0.113.9, nonsense, 10.1.1.1", None),
            ("203.0.113.9,", None),
            ("203.0.113.9 198.51.100.1", None),
            ("unknown", None),
            ("[203.0.113.9]", None),
            ("", None),
        ];
        for (value, expected) in cases {
            let found = asked("10.0.0.1", &[(&X_FORWARDED_FOR, value)]);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
        let lines = [
            (&X_FORWARDED_FOR, "198.51.100.1"),
            (&X_FORWARDED_FOR, "203.0.113.9, 10.1.1.1"),
        ];
        assert_eq!(asked("10.0.0.1", &lines).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn the_standard_header_says_the_same() {
        let cases = [
            ("for=203.0.113.9", Some("203.0.113.9")),
            ("For=\"203.0.113.9:47\";proto=https", Some("203.0.113.9")),
            (
                "proto=https; by=10.0.0.1; for=203.0.113.9",
                Some("203.0.113.9"),
            ),
            ("for=\"[2001:db8:1::7]:4711\"", Some("2001:db8:1::7")),
            (
                "for=198.51.100.1, for=203.0.113.9, for=10.1.1.1",
                Some("203.0.113.9"),
            ),
            ("for=_hidden", None),
            ("for=unknown", None),
            ("proto=https", None),
            ("for=203.0.113.9;for=198.51.100.1", None),
            ("for=\"203.0.113.9", None),
        ];
        for (value, expected) in cases {
            let found = asked("10.0.0.1", &[(&FORWARDED, value)]);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn only_a_proxy_that_is_trusted_and_clear_is_believed() {
        let one = (&X_FORWARDED_FOR, "203.0.113.9");
        let same = (&FORWARDED, "for=203.0.113.9");
        let other = (&FORWARDED, "for=198.51.100.1");
        let broken = (&FORWARDED, "for=_x");
        assert_eq!(asked("192.0.2.1", &[one]), None);
        assert_eq!(asked("2001:db8::9", &[one]).as_deref(), Some("203.0.113.9"));
        assert_eq!(
            asked("::ffff:10.0.0.1", &[one]).as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(asked("10.0.0.1", &[]), None);
        assert_eq!(
            asked("10.0.0.1", &[one, same]).as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(asked("10.0.0.1", &[one, other]), None);
        assert_eq!(asked("10.0.0.1", &[one, broken]), None);
        let local = client(&[], &Connection::default(), &HeaderMap::new());
        assert_eq!(local, None);
    }
}
