//! etcd at its usual port, which the default of `etcd.url` does not have. The ports are fixed, so
//! each test has its own network namespace.

use crate::support::TempDir;
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::Highhock;
use crate::support::docker;
use crate::support::etcd::Etcd;
use crate::support::network_namespace::NetworkNamespace;

const USUAL_PORT: u16 = 2379;
const SUGGESTION: &str =
    "etcd answers at http://127.0.0.1:2379/: set etcd.url to http://127.0.0.1:2379/";

/// A network namespace with an etcd, and the socket of the engine.
struct Host {
    namespace: NetworkNamespace,
    _etcd: Etcd,
    _engine: CuttableProxy,
    dir: TempDir,
}

impl Host {
    fn start() -> Self {
        let (dir, namespace) = (TempDir::new(), NetworkNamespace::new());
        let engine = CuttableProxy::unix(&dir.0.join("docker.sock"), docker::server_address());
        let etcd = namespace.enter(|| Etcd::start_at(USUAL_PORT));
        Self { namespace, _etcd: etcd, _engine: engine, dir }
    }

    /// A daemon with the default of `etcd.url`.
    fn highhock(&self) -> Highhock {
        let url = format!("unix://{}/docker.sock", self.dir.0.display());
        Highhock::new("").without_flag("--etcd-url").flag("--docker-url", &url)
    }
}

#[test]
fn check_suggests_the_url_at_which_etcd_answers() {
    let host = Host::start();
    for api in ["auto", "v2", "v3"] {
        let highhock = host.highhock().flag("--etcd-api", api);
        let output = host.namespace.enter(|| highhock.output(&["check"]));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(69), "{text}");
        let of_etcd: Vec<_> = text.lines().filter(|line| line.starts_with("etcd ")).collect();
        let is_suggested =
            of_etcd.iter().any(|line| line.contains("FAILED") && line.contains(SUGGESTION));
        assert!(is_suggested, "{api}: {text}");
    }
}

#[test]
fn daemon_suggests_the_url_at_which_etcd_answers() {
    let host = Host::start();
    let daemon = host.namespace.enter(|| host.highhock().start());
    daemon.wait_for_log(&["WARNING", "etcd unreachable; waiting for it", SUGGESTION]);
}

/// Settings that leave nothing open need no answer of etcd before the core starts.
#[test]
fn daemon_with_complete_settings_suggests_the_url() {
    let host = Host::start();
    let highhock = host.highhock().flag("--etcd-api", "v3").flag("--skydns-domain", "skydns.local");
    let daemon = host.namespace.enter(|| highhock.start());
    daemon.wait_for_log(&["WARNING", "etcd refuses connections at the default url", SUGGESTION]);
}
