//! Addresses that are nobody's on the Internet: those that this server never connects to for a
//! tenant. Pure: no resolver, no network.
//!
//! Of IPv4, everything is allowed but the networks listed. Of IPv6, nothing is allowed but global
//! unicast (`2000::/3`), and of that not the networks listed. Networks in which an IPv4 address is
//! embedded are refused as a whole: what they lead to is for somebody else to decide.
//!
//! From the special-purpose registries of IANA (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses, and why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub base: IpAddr,
    /// How many leading bits its addresses share.
    pub prefix: u8,
    /// What it is, for people.
    pub what: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, what: &'static str) -> Network {
    Network { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, what }
}

const fn v6(segments: [u16; 8], prefix: u8, what: &'static str) -> Network {
    let [a, b, c, d, e, f, g, h] = segments;
    Network { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix, what }
}

/// Everything that is refused and has a name of its own. The first that contains an address names
/// it.
pub const FORBIDDEN: &[Network] = &[
    v4(0, 0, 0, 0, 32, "unspecified"),
    v4(0, 0, 0, 0, 8, "this network"),
    v4(10, 0, 0, 0, 8, "private"),
    v4(100, 64, 0, 0, 10, "shared by carriers (CGNAT)"),
    v4(127, 0, 0, 0, 8, "loopback"),
    v4(169, 254, 169, 254, 32, "metadata of cloud machines"),
    v4(169, 254, 0, 0, 16, "link-local"),
    v4(172, 16, 0, 0, 12, "private"),
    v4(192, 0, 0, 0, 24, "IETF protocol assignments"),
    v4(192, 0, 2, 0, 24, "documentation"),
    v4(192, 88, 99, 0, 24, "6to4 relays"),
    v4(192, 168, 0, 0, 16, "private"),
    v4(198, 18, 0, 0, 15, "benchmarking"),
    v4(198, 51, 100, 0, 24, "documentation"),
    v4(203, 0, 113, 0, 24, "documentation"),
    v4(224, 0, 0, 0, 4, "multicast"),
    v4(255, 255, 255, 255, 32, "broadcast"),
    v4(240, 0, 0, 0, 4, "reserved"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "an IPv4 address (mapped)"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "an IPv4 address (translated)"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "an IPv4 address (compatible)"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "an IPv4 address (NAT64)"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "an IPv4 address (local NAT64)"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "an IPv4 address (Teredo)"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "an IPv4 address (6to4)"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "metadata of cloud machines"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private (unique local)"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// The only IPv6 addresses that the Internet has.
const GLOBAL_UNICAST: Network = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "global unicast");

/// What an IPv6 address outside of [`FORBIDDEN`] and of `2000::/3` is.
pub const UNASSIGNED: &str = "not global unicast";

/// What an address is whose interface part is made from an IPv4 address (RFC 5214).
pub const ISATAP: &str = "an IPv4 address (ISATAP)";

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix.into()
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Why this server does not connect to the address; `None`: it may.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    if let Some(network) = FORBIDDEN.iter().find(|network| network.contains(address)) {
        return Some(network.what);
    }
    let IpAddr::V6(v6) = address else { return None };
    if !GLOBAL_UNICAST.contains(address) {
        return Some(UNASSIGNED);
    }
    match v6.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(ISATAP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(text: &str) -> Option<&'static str> {
        forbidden(text.parse().expect(text))
    }

    /// The address just before and just after a network, where there is one.
    fn neighbours(network: &Network) -> Vec<IpAddr> {
        match network.base {
            IpAddr::V4(base) => {
                let size = 1u64 << (32 - network.prefix);
                let first = u64::from(base.to_bits());
                [first.checked_sub(1), Some(first + size)]
                    .into_iter()
                    .flatten()
                    .filter_map(|n| u32::try_from(n).ok())
                    .map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)))
                    .collect()
            }
            IpAddr::V6(base) => {
                let last =
                    base.to_bits() | (u128::MAX.checked_shr(network.prefix.into())).unwrap_or(0);
                [base.to_bits().checked_sub(1), last.checked_add(1)]
                    .into_iter()
                    .flatten()
                    .map(|n| IpAddr::V6(Ipv6Addr::from_bits(n)))
                    .collect()
            }
        }
    }

    #[test]
    fn every_address_of_the_table_is_what_it_says() {
        let table = [
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("this network")),
            ("10.0.0.1", Some("private")),
            ("10.255.255.255", Some("private")),
            ("100.64.0.1", Some("shared by carriers (CGNAT)")),
            ("100.127.255.255", Some("shared by carriers (CGNAT)")),
            ("100.100.100.200", Some("shared by carriers (CGNAT)")),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.254", Some("loopback")),
            ("169.254.0.1", Some("link-local")),
            ("169.254.169.254", Some("metadata of cloud machines")),
            ("172.16.0.1", Some("private")),
            ("172.31.255.255", Some("private")),
            ("192.0.0.8", Some("IETF protocol assignments")),
            ("192.0.2.1", Some("documentation")),
            ("192.88.99.1", Some("6to4 relays")),
            ("192.168.0.1", Some("private")),
            ("198.18.0.1", Some("benchmarking")),
            ("198.19.255.255", Some("benchmarking")),
            ("198.51.100.1", Some("documentation")),
            ("203.0.113.1", Some("documentation")),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.250", Some("multicast")),
            ("240.0.0.1", Some("reserved")),
            ("255.255.255.255", Some("broadcast")),
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::127.0.0.1", Some("an IPv4 address (compatible)")),
            ("::8.8.8.8", Some("an IPv4 address (compatible)")),
            ("::ffff:127.0.0.1", Some("an IPv4 address (mapped)")),
            ("::ffff:8.8.8.8", Some("an IPv4 address (mapped)")),
            ("::ffff:0:10.0.0.1", Some("an IPv4 address (translated)")),
            ("64:ff9b::7f00:1", Some("an IPv4 address (NAT64)")),
            ("64:ff9b::8.8.8.8", Some("an IPv4 address (NAT64)")),
            ("64:ff9b:1::a00:1", Some("an IPv4 address (local NAT64)")),
            ("100::1", Some("discard")),
            ("2001::1", Some("an IPv4 address (Teredo)")),
            ("2001:2::1", Some("IETF protocol assignments")),
            ("2001:10::1", Some("IETF protocol assignments")),
            ("2001:20::1", Some("IETF protocol assignments")),
            ("2001:db8::1", Some("documentation")),
            ("2002:7f00:1::1", Some("an IPv4 address (6to4)")),
            ("2002:808:808::1", Some("an IPv4 address (6to4)")),
            ("3fff::1", Some("documentation")),
            ("5f00::1", Some("segment routing")),
            ("fc00::1", Some("private (unique local)")),
            ("fd00:ec2::254", Some("metadata of cloud machines")),
            ("fd12:3456:789a::1", Some("private (unique local)")),
            ("fe80::1", Some("link-local")),
            ("febf::1", Some("link-local")),
            ("fec0::1", Some("site-local")),
            ("ff02::1", Some("multicast")),
            ("2a00:1450::200:5efe:a00:1", Some(ISATAP)),
            ("2a00:1450::5efe:a00:1", Some(ISATAP)),
            ("4000::1", Some(UNASSIGNED)),
            ("1::1", Some(UNASSIGNED)),
            ("1.1.1.1", None),
            ("8.8.8.8", None),
            ("9.255.255.255", None),
            ("11.0.0.0", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("126.255.255.255", None),
            ("128.0.0.0", None),
            ("169.253.255.255", None),
            ("169.255.0.0", None),
            ("172.15.255.255", None),
            ("172.32.0.0", None),
            ("192.0.1.0", None),
            ("192.167.255.255", None),
            ("192.169.0.0", None),
            ("198.17.255.255", None),
            ("198.20.0.0", None),
            ("223.255.255.255", None),
            ("2001:200::1", None),
            ("2001:4860:4860::8888", None),
            ("2003::1", None),
            ("2606:4700:4700::1111", None),
            ("2a00:1450:4001:81b::200e", None),
        ];
        for (address, expected) in table {
            println!("{address:<28} {}", expected.unwrap_or("allowed"));
            assert_eq!(why(address), expected, "{address}");
        }
    }

    #[test]
    fn first_and_last_of_every_network_are_refused_and_the_next_are_another_matter() {
        for network in FORBIDDEN {
            assert!(forbidden(network.base).is_some(), "{network}");
            assert!(network.contains(network.base), "{network}");
            for neighbour in neighbours(network) {
                assert!(!network.contains(neighbour), "{neighbour} is not in {network}");
            }
        }
    }

    /// An IPv4 address of a refused network.
    fn forbidden_v4() -> impl Strategy<Value = Ipv4Addr> {
        let networks: Vec<(u32, u8)> = FORBIDDEN
            .iter()
            .filter_map(|n| match n.base {
                IpAddr::V4(base) => Some((base.to_bits(), n.prefix)),
                IpAddr::V6(_) => None,
            })
            .collect();
        (prop::sample::select(networks), any::<u32>()).prop_map(|((base, prefix), host)| {
            let mask = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            Ipv4Addr::from_bits(base | (host & mask))
        })
    }

    proptest! {
        #[test]
        fn a_refused_ipv4_address_is_refused_in_every_disguise(
            v4 in forbidden_v4(), a in any::<u128>(), b in any::<u64>(), kind in 0usize..8,
        ) {
            prop_assert!(forbidden(IpAddr::V4(v4)).is_some());
            let bits = u128::from(v4.to_bits());
            let low80 = a & ((1 << 80) - 1);
            let disguised = match kind {
                0 => bits,                                            // compatible
                1 => 0xffff << 32 | bits,                             // mapped
                2 => 0xffff << 48 | bits,                             // translated
                3 => 0x0064_ff9b << 96 | bits,                        // NAT64
                4 => 0x0064_ff9b_0001 << 80 | low80 & !0xffff_ffff | bits,
                5 => 0x2002 << 112 | bits << 80 | low80,              // 6to4
                6 => 0x2001 << 112 | low80 & !0xffff_ffff | (!bits & 0xffff_ffff), // Teredo
                _ => {                                                // ISATAP
                    let prefix = u128::from(b & 0x1fff_ffff_ffff_ffff | 0x2000 << 48);
                    prefix << 64 | 0x5efe << 32 | bits
                }
            };
            let disguised = IpAddr::V6(Ipv6Addr::from_bits(disguised));
            prop_assert!(forbidden(disguised).is_some(), "{disguised}");
        }

        #[test]
        fn nothing_outside_of_global_unicast_is_allowed(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            prop_assume!(address.segments()[0] & 0xe000 != 0x2000);
            prop_assert!(forbidden(IpAddr::V6(address)).is_some(), "{address}");
        }

        #[test]
        fn the_standard_library_agrees_where_it_has_an_opinion(bits in any::<u32>()) {
            let a = Ipv4Addr::from_bits(bits);
            let special = a.is_private() || a.is_loopback() || a.is_link_local()
                || a.is_broadcast() || a.is_documentation() || a.is_multicast()
                || a.is_unspecified();
            if special {
                prop_assert!(forbidden(IpAddr::V4(a)).is_some(), "{a}");
            }
        }
    }
}
