//! [`AddressMonitor`]: detects that the published address is not the address of its interface any
//! more.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::host::{InterfaceLister, PublicAddress, current_address};

/// The interval between two comparisons. A comparison is one system call, and a DHCP client
/// changes an address within seconds after a machine has moved.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The address that the interfaces have now, or the reason why they have none.
pub(super) type CurrentAddress = Result<PublicAddress, String>;

/// Compares the published address with the addresses of its interface, at regular intervals and
/// after a suspend.
pub(super) struct AddressMonitor {
    interfaces: InterfaceLister,
    /// The result of the last comparison.
    last: RefCell<CurrentAddress>,
    next_check: Cell<Instant>,
    resumed: Notify,
}

impl AddressMonitor {
    /// Creates a monitor of the address that is published at the start.
    pub fn new(interfaces: InterfaceLister, published: PublicAddress) -> Self {
        Self {
            interfaces,
            last: RefCell::new(Ok(published)),
            next_check: Cell::new(Instant::now() + CHECK_INTERVAL),
            resumed: Notify::new(),
        }
    }

    /// Compares the addresses at once, because the machine may have moved to another network.
    pub fn check_now(&self) {
        self.resumed.notify_one();
    }

    /// Waits until the result of the comparison differs from the last one, and returns it.
    ///
    /// Never returns if the published address was not detected on an interface. Safe to cancel and
    /// to call again.
    pub async fn changed(&self, published: &PublicAddress) -> CurrentAddress {
        if published.detected().next().is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.next_check.get()) => {}
                () = self.resumed.notified() => {}
            }
            self.next_check.set(Instant::now() + CHECK_INTERVAL);
            let now = (self.interfaces)().and_then(|all| current_address(published, &all));
            if *self.last.borrow() != now {
                self.last.borrow_mut().clone_from(&now);
                return now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use highhock_actors::model::record::Host;

    use super::*;
    use crate::host::{AddressSource, Interface};

    fn detected(address: &str) -> PublicAddress {
        PublicAddress {
            host: Host::Address(address.parse().unwrap()),
            source: AddressSource::Interface("eth0".to_owned()),
            host6: None,
        }
    }

    fn monitor(address: &Rc<RefCell<&'static str>>) -> AddressMonitor {
        let address = Rc::clone(address);
        let interfaces = move || match *address.borrow() {
            "" => Err("not listed".to_owned()),
            address => {
                let addresses = vec![address.parse().unwrap()];
                Ok(vec![Interface { name: "eth0".to_owned(), addresses }])
            }
        };
        AddressMonitor::new(Box::new(interfaces), detected("10.0.0.1"))
    }

    #[actix_rt::test]
    async fn reports_each_change_once() {
        tokio::time::pause();
        let address = Rc::new(RefCell::new("10.0.0.1"));
        let (monitor, published) = (monitor(&address), detected("10.0.0.1"));
        let is_quiet = async || {
            let changed = monitor.changed(&published);
            tokio::time::timeout(CHECK_INTERVAL * 3, changed).await.is_err()
        };
        assert!(is_quiet().await);
        for (now, expected) in [
            ("10.0.0.9", Ok(detected("10.0.0.9"))),
            ("", Err("not listed".to_owned())),
            ("10.0.0.1", Ok(detected("10.0.0.1"))),
        ] {
            address.replace(now);
            assert_eq!(monitor.changed(&published).await, expected);
            assert!(is_quiet().await);
        }
    }

    #[actix_rt::test]
    async fn compares_at_once_after_a_suspend() {
        tokio::time::pause();
        let address = Rc::new(RefCell::new("10.0.0.9"));
        let monitor = monitor(&address);
        let started = Instant::now();
        monitor.check_now();
        assert_eq!(monitor.changed(&detected("10.0.0.1")).await, Ok(detected("10.0.0.9")));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[actix_rt::test]
    async fn configured_address_never_changes() {
        tokio::time::pause();
        let address = Rc::new(RefCell::new("10.0.0.9"));
        let monitor = monitor(&address);
        let configured = PublicAddress { source: AddressSource::Setting, ..detected("10.0.0.1") };
        let changed = monitor.changed(&configured);
        assert!(tokio::time::timeout(CHECK_INTERVAL * 3, changed).await.is_err());
    }
}
