//! Random mutations of valid packets.

use fastrand::Rng;
use hickory_proto::rr::{DNSClass, RecordType};

use super::support::dns_wire::{DnsQuery, Transport};

/// Byte values with a special meaning in DNS messages.
const BYTES: [u8; 10] = [0, 1, 41, 63, 64, 127, 128, 0xc0, 0xfe, 0xff];

/// Returns a mutated valid query, or a mutated hand-made packet.
pub fn malformed_packet(malformed_packets: &[(&str, Vec<u8>)], rng: &mut Rng) -> Vec<u8> {
    let mut packet = match rng.u8(..4) {
        0 => malformed_packets[rng.usize(..malformed_packets.len())].1.clone(),
        _ => random_query(rng).to_bytes(rng.u16(..)),
    };
    packet.truncate(4000);
    for _ in 0..rng.usize(1..=8) {
        mutate_packet(&mut packet, rng);
    }
    packet
}

/// Returns a random valid query.
pub fn random_query(rng: &mut Rng) -> DnsQuery {
    const NAMES: [&str; 7] = [
        "httpd.skydns.local",
        "*.skydns.local",
        "any.httpd.skydns.local",
        "many.skydns.local",
        "skydns.local",
        "www.example.com",
        "1.0.0.10.in-addr.arpa",
    ];
    let kind = RecordType::from([1, 28, 33, 16, 12, 6, 2, 5, 15, 255][rng.usize(..10)]);
    let transport = if rng.bool() { Transport::Udp } else { Transport::Edns(rng.u16(..)) };
    DnsQuery {
        class: if rng.u8(..20) == 0 { DNSClass::ANY } else { DNSClass::IN },
        transport,
        recursion_desired: rng.bool(),
        ..DnsQuery::new(NAMES[rng.usize(..NAMES.len())], kind)
    }
}

fn mutate_packet(packet: &mut Vec<u8>, rng: &mut Rng) {
    if packet.is_empty() {
        packet.push(rng.u8(..));
        return;
    }
    let at = rng.usize(..packet.len());
    match rng.u8(..9) {
        0 => packet[at] ^= 1 << rng.u8(..8),
        1 => packet[at] = BYTES[rng.usize(..BYTES.len())],
        2 => packet.truncate(at),
        3 => packet.insert(at, rng.u8(..)),
        4 => drop(packet.remove(at)),
        // Repeats a piece of the packet at another position.
        5 => {
            let piece = packet[at..(at + rng.usize(..64)).min(packet.len())].to_vec();
            let place = rng.usize(..=packet.len());
            packet.splice(place..place, piece);
        }
        6 => {
            let pointer = (0xc000 | rng.u16(..packet.len().min(0x3fff) as u16 + 1)).to_be_bytes();
            let end = (at + 2).min(packet.len());
            packet.splice(at..end, pointer);
        }
        // Changes one of the record counts.
        7 => {
            let count = 4 + rng.usize(..8);
            if let Some(byte) = packet.get_mut(count) {
                *byte = BYTES[rng.usize(..BYTES.len())];
            }
        }
        _ => packet.extend((0..rng.usize(..40)).map(|_| rng.u8(..))),
    }
}
