//! Certificates and credentials: keys that make sense together only.

use super::error::Fault;
use super::lookup::read;
use super::merged::Inputs;
use crate::credentials::secret::{Credentials, Password, Secret};
use crate::settings::lookup::{fault, is_faulty};
use crate::tls::{Identity, TlsFiles};

/// The keys `<section>.ca`, `.cert` and `.key`. `others` are the faults found so
/// far: what is wrong with one key is not told a second time as lacking beside
/// another.
pub(super) fn tls_files(
    inputs: &Inputs,
    section: &str,
    others: &[Fault],
) -> Result<TlsFiles, Vec<Fault>> {
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| format!("{section}.{name}"));
    let file = |path: &str| -> Result<_, Vec<Fault>> {
        Ok(read(path, |path| inputs.text_if_set(path))?.map(Into::into))
    };
    let identity = match (file(&cert)?, file(&key)?) {
        (Some(cert), Some(key)) => Some(Identity { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            return lacking(inputs, &cert, &key, others).map(|()| TlsFiles::default());
        }
        (None, Some(_)) => {
            return lacking(inputs, &key, &cert, others).map(|()| TlsFiles::default());
        }
    };
    Ok(TlsFiles { ca: file(&ca)?, identity })
}

/// The fault of files that are named where TLS is not spoken.
pub(super) fn refuse_files(inputs: &Inputs, section: &str, why: &str) -> Result<(), Vec<Fault>> {
    let keys = ["ca", "cert", "key"].map(|name| format!("{section}.{name}"));
    let named: Vec<_> = keys.iter().filter(|path| inputs.is_set(path)).collect();
    let faults: Vec<_> =
        named.into_iter().map(|path| fault(inputs, path, format!("set, but {why}"))).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The keys `etcd.username`, `etcd.password` and `etcd.passwordFile`.
pub(super) fn credentials(
    inputs: &Inputs,
    others: &[Fault],
) -> Result<Option<Credentials>, Vec<Fault>> {
    const NAME: &str = "etcd.username";
    const WORD: &str = "etcd.password";
    const FILE: &str = "etcd.passwordFile";
    let text = |path: &str| read(path, |path| inputs.text_if_set(path));
    let password = match (text(WORD)?, text(FILE)?) {
        (Some(_), Some(_)) => {
            let what = format!("set beside {WORD}; takes one of the two");
            return Err(vec![fault(inputs, FILE, what)]);
        }
        (Some(word), None) => Some((WORD, Password::Given(Secret::new(word)))),
        (None, Some(path)) => Some((FILE, Password::File(path.into()))),
        (None, None) => None,
    };
    match (text(NAME)?, password) {
        (Some(username), Some((_, password))) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        (None, Some((path, _))) => lacking(inputs, path, NAME, others).map(|()| None),
        (Some(_), None) if is_faulty(WORD, others) || is_faulty(FILE, others) => Ok(None),
        (Some(_), None) => {
            let what = format!("set without {WORD} or {FILE}; takes one of them beside it");
            Err(vec![fault(inputs, NAME, what)])
        }
    }
}

/// The fault of a key that is set without another.
fn lacking(inputs: &Inputs, path: &str, other: &str, others: &[Fault]) -> Result<(), Vec<Fault>> {
    match is_faulty(other, others) {
        true => Ok(()),
        false => {
            Err(vec![fault(inputs, path, format!("set without {other}; takes both or neither"))])
        }
    }
}
