//! Suggestions for labels that resemble a label of HighHock.

/// The first part of all labels of HighHock.
const PREFIX: &str = "highhock";

/// The labels without the prefix that apply to a whole container and are no attributes.
pub(super) const CONTAINER_LABELS: [&str; 4] = ["discover", "health", "drain", "network"];

/// The labels without the prefix that are attributes of all services, or of one.
const ATTRIBUTES: [&str; 6] = ["priority", "weight", "ttl", "text", "group", "host"];

/// The largest number of typing errors in a label.
const TYPING_ERRORS_MAX: usize = 2;

/// The length up to which a key has at most one typing error.
const SHORT_KEY_LENGTH: usize = 5;

/// Returns the label that was probably meant by an unknown one. Returns `None` if the label is
/// known, or resembles none.
pub(super) fn nearest_label(label: &str) -> Option<String> {
    let lower = label.to_ascii_lowercase();
    let known = nearest_container_label(&lower).or_else(|| nearest_service_label(&lower));
    known.filter(|known| known != label)
}

/// Returns the most similar text, unless it differs too much.
pub(super) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|one| (distance(text, one), one));
    let (distance, nearest) = distances.min()?;
    (distance <= typing_errors_max(nearest)).then_some(nearest)
}

fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}

fn typing_errors_max(key: &str) -> usize {
    if key.len() <= SHORT_KEY_LENGTH { 1 } else { TYPING_ERRORS_MAX }
}

/// Returns the label for a whole container that resembles this one.
fn nearest_container_label(label: &str) -> Option<String> {
    let keys = CONTAINER_LABELS.iter().chain(&ATTRIBUTES);
    let labels = keys.map(|key| (format!("{PREFIX}.{key}"), typing_errors_max(key)));
    let distances = labels.map(|(known, max)| (distance(label, &known), max, known));
    let near = distances.filter(|(distance, max, _)| distance <= max);
    near.min().map(|(_, _, known)| known)
}

/// Returns the label for one service that resembles this one, such as `highhock.web.priority`.
fn nearest_service_label(label: &str) -> Option<String> {
    let (prefix, rest) = label.split_once('.')?;
    let (service, attribute) = rest.rsplit_once('.')?;
    let attribute = nearest(attribute, ATTRIBUTES)?;
    (distance(prefix, PREFIX) <= TYPING_ERRORS_MAX)
        .then(|| format!("{PREFIX}.{service}.{attribute}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_label() {
        for (label, expected) in [
            ("highhock.discovery", "highhock.discover"),
            ("highhock.dicover", "highhock.discover"),
            ("highhock.Discover", "highhock.discover"),
            ("higghock.discover", "highhock.discover"),
            ("highock.discover", "highhock.discover"),
            ("HighHock.discover", "highhock.discover"),
            ("highhock-discover", "highhock.discover"),
            ("highhock_discovery", "highhock.discover"),
            ("highhock.priorty", "highhock.priority"),
            ("highhocks.priority", "highhock.priority"),
            ("highhock.hosts", "highhock.host"),
            ("highhock.helth", "highhock.health"),
            ("highhock.networks", "highhock.network"),
            ("highhock.web.priorty", "highhock.web.priority"),
            ("highock.api.web.ttl", "highhock.api.web.ttl"),
        ] {
            assert_eq!(nearest_label(label).as_deref(), Some(expected), "{label}");
        }
    }

    #[test]
    fn suggests_nothing_for_known_and_foreign_labels() {
        for label in [
            "highhock.discover",
            "highhock.priority",
            "highhock.web.priority",
            "highhock.api.web.host",
            "highhock.port",
            "highhock.colour",
            "highhock.web.colour",
            "highhock",
            "discover",
            "com.docker.compose.service",
            "traefik.http.routers.web.priority",
            "org.opencontainers.image.title",
            "maintainer",
            "",
        ] {
            assert_eq!(nearest_label(label), None, "{label}");
        }
    }
}
