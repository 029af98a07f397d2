//! Containers whose image has lost its tag, or is of another architecture.

use highhock_actors::ContainerState;

use crate::engine::{engine, inspect, row_of};
use crate::support::docker::{Container, docker, is_podman};
use crate::support::test_image::Image;

/// Returns the image of a container in a listing: its name, or its id if the name is gone.
fn listed_image(container: &Container) -> String {
    let filter = format!("id={}", container.id());
    docker(&["ps", "--no-trunc", "--filter", &filter, "--format", "{{.Image}}"])
}

#[actix_rt::test]
async fn removed_image_tag_changes_no_container() {
    let image = Image::tag();
    let container = Container::run_image(image.name(), &["-p", "80"]);
    let docker = engine();
    let (row, before) = (row_of(&docker, &container).await, inspect(&docker, &container).await);
    assert!(listed_image(&container).ends_with(image.name()));
    image.untag();
    // Podman keeps the name. Docker lists the id of an image without a name.
    assert_eq!(listed_image(&container).ends_with(image.name()), is_podman());

    let untagged = row_of(&docker, &container).await.unwrap();
    assert!(!untagged.differs_from(&row.unwrap()));
    let after = inspect(&docker, &container).await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(after.fingerprint, untagged.fingerprint);
    // Discovery methods derive names from it.
    assert!(after.image.ends_with(image.name()), "{}", after.image);
}

#[actix_rt::test]
async fn image_of_another_architecture_is_listed_and_inspected() {
    let image = Image::of_architecture("arm64");
    let options = ["--platform", "linux/arm64", "-p", "80", "--label", "a=1"];
    let container = Container::run_image(image.name(), &options);
    let docker = engine();
    let (row, seen) = (row_of(&docker, &container).await, inspect(&docker, &container).await);
    assert_eq!(seen.fingerprint, row.unwrap().fingerprint);
    assert_eq!((seen.state, &*seen.labels["a"]), (ContainerState::Running, "1"));
    assert!(seen.image.ends_with(image.name()), "{}", seen.image);
    let port = container.published_port("80/tcp");
    assert!(seen.bindings.iter().any(|binding| binding.host_port == port), "{seen:?}");
}
