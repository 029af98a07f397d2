//! Tests of the effective settings that are shown to the operator.

use super::*;

#[test]
fn shows_every_key_with_its_layer_and_no_secret() {
    let mut sources = with_file("tests/fixtures/first-readme.json");
    sources.environment = [
        ("highhock_docker__pollcontainer", "21"),
        ("HIGHHOCK_ETCD__USERNAME", "root"),
        ("HIGHHOCK_ETCD__PASSWORD", "hunter2"),
        ("HIGHHOCK_ADMIN__TOKEN", "hunter2"),
    ]
    .into_iter()
    .collect();
    sources.flags = vec![flag("discovery.methods", "label,env")];
    let effective = load(&sources).unwrap().effective;
    assert_eq!(effective.len(), KEYS.len());
    assert!(!format!("{effective:?}").contains("hunter2"), "{effective:?}");
    let shown = |key: &str| {
        let key = effective.iter().find(|entry| entry.key == key).unwrap();
        (key.value.to_string(), key.layer.as_str(), key.place.clone().unwrap_or_default())
    };
    let is = |value: &str, layer, place: &str| (value.to_owned(), layer, place.to_owned());
    assert_eq!(shown("etcd.ttl"), is("60", "default", ""));
    let file = sources.file.clone().unwrap().path.display().to_string();
    assert_eq!(shown("docker.poll"), is("12", "file", &file));
    let variable = "highhock_docker__pollcontainer";
    assert_eq!(shown("docker.pollContainer"), is("21", "environment", variable));
    let variable = "HIGHHOCK_ETCD__PASSWORD";
    assert_eq!(shown("etcd.password"), is("\"(set, not shown)\"", "environment", variable));
    assert_eq!(
        shown("discovery.methods"),
        is("[\"label\",\"env\"]", "flag", "--discovery-methods")
    );
    assert_eq!(shown("etcd.ca"), is("null", "default", ""));
}

#[test]
fn shows_derived_values() {
    let effective = |sources: &Sources| {
        let all = load(sources).unwrap().effective;
        let key = all.into_iter().find(|entry| entry.key == "docker.url").unwrap();
        (key.value.as_str().unwrap().to_owned(), key.place)
    };
    let host = with_environment(&[("DOCKER_HOST", "tcp://10.0.0.1:2375")]);
    assert_eq!(
        effective(&host),
        ("http://10.0.0.1:2375/".to_owned(), Some("DOCKER_HOST".to_owned()))
    );
    assert_eq!(effective(&sources()), ("http://127.0.0.1:2375/".to_owned(), None));
}
