//! The EDNS options of a query that are forwarded to upstreams.

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// Options between two neighbours, which a forwarder must not pass on: NSID (RFC 5001), COOKIE
/// (RFC 7873), edns-tcp-keepalive (RFC 7828) and padding (RFC 7830).
const HOP_BY_HOP_CODES: [u16; 4] = [3, 10, 11, 12];

/// The code and the data of an option.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ForwardedOption {
    code: u16,
    data: Vec<u8>,
}

/// Returns the options that an upstream receives, with unknown options. Upstreams ignore options
/// that they do not know (RFC 6891, section 6.1.2).
pub(super) fn forwarded(edns: &Edns) -> Vec<ForwardedOption> {
    let options = edns.options().as_ref().iter();
    let options = options.filter_map(|(code, option)| {
        Some(ForwardedOption { code: u16::from(*code), data: Vec::try_from(option).ok()? })
    });
    options.filter(|option| !HOP_BY_HOP_CODES.contains(&option.code)).collect()
}

/// Adds the options to the EDNS record of a query.
pub(super) fn add(options: &[ForwardedOption], edns: &mut Edns) {
    let options = options.iter().map(|ForwardedOption { code, data }| {
        (EdnsCode::from(*code), EdnsOption::Unknown(*code, data.clone()))
    });
    edns.options_mut().as_mut().extend(options);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_pass_and_options_of_one_hop_do_not() {
        let mut edns = Edns::new();
        let given = [(3, "id"), (8, "\0\u{1}\u{8}\0\n"), (10, "cookie12"), (65_001, "x")];
        let given = given.map(|(code, data)| ForwardedOption { code, data: data.into() });
        add(&given, &mut edns);
        assert_eq!(forwarded(&edns), [given[1].clone(), given[3].clone()]);
    }
}
