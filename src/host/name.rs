//! The name of this host.

use highhock_actors::model::stable_hash::fnv1a;

/// Returns the machine's own name.
///
/// # Errors
/// Returns an error if the kernel's file cannot be read.
pub fn machine_name() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}

/// Converts a host's name to a part of a key: its first label in lower case, at most 30 bytes.
///
/// Characters that are not allowed in a DNS label are replaced by `-`. A `_` at the beginning is
/// replaced too, because etcd's v2 API hides such keys from SkyDNS. A longer label is cut, and
/// ends in `-` and 6 hexadecimal digits of a hash: the low 24 bits of the 64-bit FNV-1a hash over
/// the bytes of the lower-case first label, before the replacement.
///
/// A restarted daemon finds its records by this name, so the conversion must never change.
pub fn instance_label(name: &str) -> String {
    const LABEL_LENGTH_MAX: usize = 30;
    const STEM_LENGTH: usize = LABEL_LENGTH_MAX - 7;
    let label = name.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_allowed = |at, c: char| c.is_ascii_alphanumeric() || (c == '_' && at > 0);
    let sanitize = |(at, c)| if is_allowed(at, c) { c } else { '-' };
    let sanitized: String = label.chars().enumerate().map(sanitize).collect();
    match sanitized.len() {
        0 => "host".to_owned(),
        1..=LABEL_LENGTH_MAX => sanitized,
        _ => format!("{}-{:06x}", &sanitized[..STEM_LENGTH], fnv1a(label.as_bytes()) & 0xff_ffff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_name_of_this_machine() {
        assert!(!machine_name().unwrap().is_empty());
    }

    #[test]
    fn keeps_short_names() {
        assert_eq!(instance_label("Web-1.example.org"), "web-1");
        assert_eq!(instance_label("my_host\n"), "my_host");
        assert_eq!(instance_label("_host"), "-host");
        assert_eq!(instance_label("büro/2"), "b-ro-2");
        assert_eq!(instance_label(""), "host");
        assert_eq!(instance_label(".example.org"), "host");
        assert_eq!(instance_label(&"a".repeat(30)), "a".repeat(30));
    }

    // Existing installations have keys with these names, so the expectations must never change.
    #[test]
    fn shortens_long_names_deterministically() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let long = instance_label("ip-10-20-30-40-eu-central-1-compute.internal");
        assert_eq!(long, instance_label("IP-10-20-30-40-eu-central-1-COMPUTE"));
        assert_eq!(long, "ip-10-20-30-40-eu-centr-b6827b");
        assert_eq!(long.len(), 30);
        assert_ne!(long, instance_label("ip-10-20-30-40-eu-central-2-compute"));
    }
}
