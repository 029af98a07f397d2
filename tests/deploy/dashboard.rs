//! The Grafana dashboard, as far as it can be judged without Grafana.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::TempDir;
use crate::{metric_names, runs, text};

const DASHBOARD: &str = "deploy/grafana/highhock.json";

/// The variable that the reader chooses Prometheus by.
const SOURCE: &str = "${datasource}";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json[key].as_array().map_or(&[], Vec::as_slice)
}

/// All that Prometheus is asked for.
fn questions(dashboard: &Value) -> Vec<&Value> {
    let targets = list(dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    targets.chain(list(&dashboard["annotations"], "list")).collect()
}

#[test]
fn every_question_goes_to_the_data_source_that_the_reader_chose() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    assert!(variables.iter().any(|variable| variable["type"] == "datasource"));
    let panels = list(&dashboard, "panels").iter().filter(|panel| panel["type"] != "row");
    for asked in questions(&dashboard).into_iter().chain(panels) {
        assert_eq!(asked["datasource"]["uid"], SOURCE, "{asked}");
    }
}

#[test]
fn every_question_is_one_that_prometheus_understands() {
    let dashboard = dashboard();
    let questions = questions(&dashboard);
    assert!(questions.len() > 30, "{}", questions.len());
    // What Grafana puts in the variables' places.
    let rules = questions.iter().enumerate().map(|(number, question)| {
        let asked = question["expr"].as_str().unwrap();
        let asked = asked.replace("$__rate_interval", "1m").replace("$instance", ".*");
        assert!(!asked.contains('$'), "{asked}");
        serde_json::json!({ "record": format!("asked:{number}"), "expr": asked })
    });
    let groups =
        serde_json::json!({ "groups": [{ "name": "asked", "rules": rules.collect::<Vec<_>>() }] });
    let folder = TempDir::new();
    let file = folder.0.join("rules.yaml");
    fs::write(&file, groups.to_string()).unwrap();
    runs(Command::new("promtool").args(["check", "rules"]).arg(file));
}

#[test]
fn every_metric_is_one_of_the_daemons_and_none_is_missed() {
    let dashboard = text(DASHBOARD);
    let (named, exposed) = (metric_names::named_in(&dashboard), metric_names::exposed());
    let unknown: Vec<_> = named.difference(exposed).collect();
    assert!(unknown.is_empty(), "no metrics of the daemon's: {unknown:?}");
    // Of a histogram, the buckets are enough.
    let is_shown = |name: &&String| !name.ends_with("_sum") && !name.ends_with("_count");
    let missed: Vec<_> = exposed.difference(&named).filter(is_shown).collect();
    assert!(missed.is_empty(), "on no panel: {missed:?}");
}

#[test]
fn no_two_panels_share_a_number_or_a_place() {
    let dashboard = dashboard();
    let (mut numbers, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(numbers.insert(panel["id"].as_u64()), "{}", panel["title"]);
        assert!(x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "{} lies on another", panel["title"]);
        }
    }
}
