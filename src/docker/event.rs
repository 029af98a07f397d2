//! One message of the event stream (`GET /events`), and its translation into an [`Event`].
//!
//! Field names are those of `EventMessage` in the Docker Engine API. Docker and Podman differ:
//!
//! - Podman names the end and removal of a container `died` and `remove`, and Docker `die` and
//!   `destroy`.
//! - Podman reports no signal of a `kill`, so only an inspection shows the effect.
//! - The actor of a network event is the network with Docker, and the container with Podman.

use std::collections::BTreeMap;

use highhock_actors::{ContainerId, EngineTime, Event, EventKind};
use serde::Deserialize;

use super::partial_json::{find_id, find_text};
use super::signal;
use super::wire::{or_default, without_slash};

/// The query parameter `filters`: the types and actions that this module understands. Podman uses
/// `died` and `remove` as names of actions, in its messages or its filter.
pub(super) const EVENT_FILTERS: &str = r#"{"type":["container","network"],"event":["start","die","died","destroy","remove","kill","pause","unpause","rename","update","health_status","connect","disconnect"]}"#;

/// One JSON object of the stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    action: String,
    #[serde(default, deserialize_with = "or_default")]
    actor: Actor,
    /// The time in seconds since 1970.
    #[serde(rename = "time", default, deserialize_with = "or_default")]
    seconds: i64,
    #[serde(rename = "timeNano", default, deserialize_with = "or_default")]
    nanoseconds: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID", default, deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    attributes: BTreeMap<String, String>,
}

/// Parses one message. Returns `None` if it does not concern a container, or if its action is
/// irrelevant.
///
/// # Errors
/// Returns an error if `line` is not JSON. JSON of an unknown form is skipped, because a newer
/// engine may send messages that HighHock does not know.
pub(super) fn parse(line: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    match serde_json::from_slice::<Message>(line) {
        Ok(message) => Ok(message.into_event()),
        Err(error) if error.is_data() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Describes an event that cannot be parsed by its container and action. Other parts of the event
/// may be labels, and secret.
pub(super) fn describe(start: &[u8]) -> String {
    // The attributes contain the labels. A label may have any name.
    const ATTRIBUTES: &[u8] = b"\"Attributes\"";
    let attributes = start.windows(ATTRIBUTES.len()).position(|window| window == ATTRIBUTES);
    let head = &start[..attributes.unwrap_or(start.len())];
    let id = find_id(head, "ID").or_else(|| find_id(head, "id")).unwrap_or("unknown");
    format!("container {id}, action {}", find_action(head).unwrap_or("unknown"))
}

/// Returns the action without its details, which may be a command line.
fn find_action(head: &[u8]) -> Option<&str> {
    let action = find_text(head, "Action")?.split(':').next()?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (!action.is_empty() && action.bytes().all(is_name)).then_some(action)
}

/// Formats a time for the query parameter `since`: seconds, with nanoseconds as their fraction.
pub(super) fn timestamp(at: EngineTime) -> String {
    const SECOND: i128 = 1_000_000_000;
    format!("{}.{:09}", at.0.div_euclid(SECOND), at.0.rem_euclid(SECOND))
}

impl Message {
    fn into_event(self) -> Option<Event> {
        let attribute = |name: &str| self.actor.attributes.get(name);
        let (container, name, kind) = match &*self.kind {
            "container" => (&self.actor.id, attribute("name"), self.container_event_kind()?),
            "network" if matches!(&*self.action, "connect" | "disconnect") => {
                // Docker's actor is the network, Podman's the container.
                let container = attribute("container").unwrap_or(&self.actor.id);
                (container, None, EventKind::Changed)
            }
            _ => return None,
        };
        let at = match self.nanoseconds {
            0 => i128::from(self.seconds) * 1_000_000_000,
            nanoseconds => i128::from(nanoseconds),
        };
        (!container.is_empty()).then(|| Event {
            container: ContainerId::new(container),
            name: name.map(|name| without_slash(name).to_owned()),
            at: EngineTime(at),
            kind,
        })
    }

    fn container_event_kind(&self) -> Option<EventKind> {
        // Docker appends the result of a health check: `health_status: healthy`.
        let action = self.action.split(':').next().unwrap_or_default();
        Some(match action {
            "start" => EventKind::Started,
            "die" | "died" | "destroy" | "remove" => EventKind::Ended,
            "kill" => self.signal_event_kind(),
            "pause" | "unpause" | "rename" | "update" | "health_status" => EventKind::Changed,
            _ => return None,
        })
    }

    /// Returns the signal of a `kill`. Podman does not report it, so the container must be
    /// inspected.
    fn signal_event_kind(&self) -> EventKind {
        let number = self.actor.attributes.get("signal").and_then(|text| signal::number(text));
        number.map_or(EventKind::Changed, EventKind::Signalled)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "f00dfeed0123456789abcdef0123456789abcdef0123456789abcdef01234567";

    fn parse_json(value: &Value) -> Option<Event> {
        parse(value.to_string().as_bytes()).unwrap()
    }

    /// A container event as Docker 20.10 writes it.
    fn container_event(action: &str, attributes: Value) -> Value {
        let mut actor = json!({"ID": ID, "Attributes": {"image": "httpd:1", "name": "web"}});
        for (key, value) in attributes.as_object().unwrap() {
            actor["Attributes"][key] = value.clone();
        }
        json!({"status": action, "id": ID, "from": "httpd:1", "Type": "container",
            "Action": action, "Actor": actor, "scope": "local",
            "time": 1_795_410_344, "timeNano": 1_795_410_344_731_360_091_i64})
    }

    #[test]
    fn parses_container_events() {
        use EventKind::{Changed, Ended, Signalled, Started};
        for (action, attributes, expected) in [
            ("start", json!({}), Started),
            ("die", json!({"exitCode": "137"}), Ended),
            ("died", json!({}), Ended),
            ("destroy", json!({}), Ended),
            ("remove", json!({}), Ended),
            ("kill", json!({"signal": "15"}), Signalled(15)),
            ("kill", json!({"signal": "SIGRTMIN+3"}), Signalled(37)),
            ("kill", json!({"signal": "SIGNONE"}), Changed),
            ("kill", json!({}), Changed),
            ("pause", json!({}), Changed),
            ("unpause", json!({}), Changed),
            ("rename", json!({"oldName": "/old"}), Changed),
            ("update", json!({}), Changed),
            ("health_status: healthy", json!({}), Changed),
            ("health_status", json!({}), Changed),
        ] {
            let event = parse_json(&container_event(action, attributes)).unwrap();
            assert_eq!(event.kind, expected, "{action}");
            assert_eq!((event.container.as_str(), event.name.as_deref()), (ID, Some("web")));
            assert_eq!(event.at, EngineTime(1_795_410_344_731_360_091));
        }
    }

    #[test]
    fn network_event_names_the_container() {
        let event = |attributes: Value, id: &str| {
            json!({"Type": "network", "Action": "connect", "time": 7,
                "Actor": {"ID": id, "Attributes": attributes}})
        };
        let docker = event(json!({"container": ID, "name": "bridge", "type": "bridge"}), "net");
        let podman = event(json!({"name": "web", "podId": ""}), ID);
        for message in [docker, podman] {
            let event = parse_json(&message).unwrap();
            assert_eq!((event.container.as_str(), event.name), (ID, None));
            assert_eq!((event.at, event.kind), (EngineTime(7_000_000_000), EventKind::Changed));
        }
    }

    #[test]
    fn skips_unknown_messages() {
        for message in [
            container_event("exec_start: sh", json!({})),
            container_event("create", json!({})),
            container_event("", json!({})),
            container_event("health_status_of_mind", json!({})),
            json!({"Type": "network", "Action": "destroy", "Actor": {"ID": "net"}}),
            json!({"Type": "image", "Action": "pull", "Actor": {"ID": ID}}),
            json!({"Type": "container", "Action": "start", "Actor": {"ID": ""}}),
            json!({"Type": "container", "Action": "start"}),
            json!({"Type": "container", "Action": "start", "Actor": {"ID": 7}}),
            json!({"Type": null, "Action": null, "Actor": null, "time": null, "timeNano": null}),
            json!({"message": "something went wrong"}),
            json!([]),
            json!("start"),
        ] {
            assert_eq!(parse_json(&message), None, "{message}");
        }
    }

    #[test]
    fn formats_timestamps_for_the_query() {
        assert_eq!(timestamp(EngineTime(1_795_410_344_031_360_091)), "1795410344.031360091");
        assert_eq!(timestamp(EngineTime(7_000_000_000)), "7.000000000");
    }

    #[test]
    fn rejects_messages_that_are_not_json() {
        for line in ["", "hello", "{\"Type\":\"container\"", "<html>", "{} {}", "\u{0}"] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn describes_unreadable_events_without_labels() {
        for (start, expected) in [
            (
                r#"{"status":"start","id":"f00d","from":"i","Type":"container","Action":"start","Actor":{"ID":"f00d","Attributes":{"a":"x"#,
                "container f00d, action start",
            ),
            (
                r#"{"Type":"container","Action":"health_status: healthy","Actor":{"ID":"f00d","Att"#,
                "container f00d, action health_status",
            ),
            (
                r#"{"Action":"exec_start: sh -c secret","Actor":{"Attributes":{"ID":"secret"#,
                "container unknown, action exec_start",
            ),
            (
                r#"{"Actor":{"ID":"f00d","Attributes":{"Action":"secret"}"#,
                "container f00d, action unknown",
            ),
            (r#"{"Action":"the secret","Actor":{"ID":"a b"}"#, "container unknown, action unknown"),
            ("secret", "container unknown, action unknown"),
        ] {
            assert_eq!(describe(start.as_bytes()), expected, "{start}");
        }
    }

    #[test]
    fn event_filters_are_json() {
        let filters: BTreeMap<String, Vec<String>> = serde_json::from_str(EVENT_FILTERS).unwrap();
        assert_eq!(filters["type"], ["container", "network"]);
    }
}
