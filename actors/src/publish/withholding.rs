//! The reasons to withhold a whole container: its state, its health, and its labels.

use crate::model::container::{Container, ContainerState, Health};

/// The label with which a container is published regardless of its health check.
const HEALTH_LABEL: &str = "highhock.health";

/// The label with which a container stays published after its stop signal.
const DRAIN_LABEL: &str = "highhock.drain";

/// The value with which [`HEALTH_LABEL`] and [`DRAIN_LABEL`] take effect.
const IGNORE_VALUE: &str = "ignore";

/// Returns the reason to withhold a container, or `None` if the inspected container may be
/// published.
///
/// `by_health` is the setting `discovery.health`: whether a container with a health check
/// must be healthy. A reason is a phrase that follows the name of the container in a report,
/// such as "is paused".
pub(crate) fn withhold_reason(container: &Container, by_health: bool) -> Option<String> {
    if mutated!(PausedContainerPublished) && container.state == ContainerState::Paused {
        return None;
    }
    let reason = match container.state {
        ContainerState::Running => return health_withhold_reason(container, by_health),
        ContainerState::Created => "was created but not started; start it with `docker start`",
        ContainerState::Paused => "is paused; resume it with `docker unpause`",
        ContainerState::Restarting => return Some(restarting_reason(container)),
        ContainerState::Removing => "is being removed",
        ContainerState::Exited => "has exited; start it with `docker start`",
        ContainerState::Dead => {
            "is dead: the engine failed to remove it; remove it with `docker rm --force`"
        }
    };
    Some(reason.into())
}

/// Returns the reason for a container that the engine is about to start again. The reason
/// names the exit code, which is the only cause that the engine reports.
fn restarting_reason(container: &Container) -> String {
    let Container { restarts, exit_code, .. } = container;
    let times = if *restarts == 1 { "once" } else { &format!("{restarts} times") };
    format!(
        "is restarting ({times} so far): it ended with exit code {exit_code}; see `docker logs`"
    )
}

fn health_withhold_reason(container: &Container, by_health: bool) -> Option<String> {
    if mutated!(HealthIgnored) || !by_health || has_ignore_label(container, HEALTH_LABEL) {
        return None;
    }
    let cause = match container.health {
        Health::Unchecked | Health::Healthy => return None,
        Health::Starting => "is starting: no health check has passed yet",
        Health::Unhealthy => "is unhealthy: its health check fails",
    };
    Some(format!("{cause}; to publish it anyway, set the label `{HEALTH_LABEL}={IGNORE_VALUE}`"))
}

/// Returns `true` if the container stays published after its stop signal.
pub(crate) fn ignores_drain(container: &Container) -> bool {
    has_ignore_label(container, DRAIN_LABEL)
}

fn has_ignore_label(container: &Container, label: &str) -> bool {
    let label = container.labels.get(label);
    label.is_some_and(|value| value.trim().eq_ignore_ascii_case(IGNORE_VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::publish_config::PublishConfig;
    use crate::publish::tests::{config, httpd, offered};

    #[test]
    fn publishes_only_running_containers() {
        for (state, reason) in [
            (ContainerState::Running, None),
            (
                ContainerState::Created,
                Some("was created but not started; start it with `docker start`"),
            ),
            (ContainerState::Paused, Some("is paused; resume it with `docker unpause`")),
            (
                ContainerState::Restarting,
                Some(
                    "is restarting (7 times so far): it ended with exit code 3; see `docker logs`",
                ),
            ),
            (ContainerState::Removing, Some("is being removed")),
            (ContainerState::Exited, Some("has exited; start it with `docker start`")),
            (
                ContainerState::Dead,
                Some("is dead: the engine failed to remove it; remove it with `docker rm --force`"),
            ),
        ] {
            // The label and the setting concern the health, not the state.
            let container = Container { state, restarts: 7, exit_code: 3, ..httpd() };
            let container = container.label("highhock.health", "ignore");
            let plan = offered(&container, &PublishConfig { health: false, ..config() });
            assert_eq!(plan.withheld.as_deref(), reason);
            assert_eq!(plan.desired.len(), usize::from(reason.is_none()), "{state:?}");
            assert_eq!(plan.services.len(), 1, "{state:?}");
        }
    }

    #[test]
    fn publishes_health_checked_container_while_healthy() {
        for (health, by_health, label, published) in [
            (Health::Unchecked, true, None, true),
            (Health::Healthy, true, None, true),
            (Health::Starting, true, None, false),
            (Health::Unhealthy, true, None, false),
            (Health::Starting, false, None, true),
            (Health::Unhealthy, false, None, true),
            (Health::Unhealthy, true, Some("ignore"), true),
            (Health::Starting, true, Some(" Ignore"), true),
            (Health::Unhealthy, true, Some("yes"), false),
        ] {
            let mut container = Container { health, ..httpd() };
            if let Some(value) = label {
                container = container.label("highhock.health", value);
            }
            let plan = offered(&container, &PublishConfig { health: by_health, ..config() });
            assert_eq!(
                plan.desired.len(),
                usize::from(published),
                "{health:?} {by_health} {label:?}"
            );
            assert_eq!(plan.withheld.is_none(), published, "{health:?} {by_health} {label:?}");
        }
        let plan = offered(&Container { health: Health::Unhealthy, ..httpd() }, &config());
        assert!(plan.withheld.unwrap().starts_with("is unhealthy: its health check fails; "));
    }
}
