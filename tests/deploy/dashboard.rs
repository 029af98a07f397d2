//! The Grafana dashboard, checked without Grafana.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::TempDir;
use crate::{metric_names, run_successfully, text};

const DASHBOARD: &str = "deploy/grafana/highhock.json";

/// The dashboard variable that selects the Prometheus data source.
const DATA_SOURCE_VARIABLE: &str = "${datasource}";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json[key].as_array().map_or(&[], Vec::as_slice)
}

/// All Prometheus queries of the panels.
fn panel_queries(dashboard: &Value) -> Vec<&Value> {
    let targets = list(dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    targets.chain(list(&dashboard["annotations"], "list")).collect()
}

#[test]
fn every_query_uses_the_selected_data_source() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    assert!(variables.iter().any(|variable| variable["type"] == "datasource"));
    let panels = list(&dashboard, "panels").iter().filter(|panel| panel["type"] != "row");
    for target in panel_queries(&dashboard).into_iter().chain(panels) {
        assert_eq!(target["datasource"]["uid"], DATA_SOURCE_VARIABLE, "{target}");
    }
}

#[test]
fn every_query_is_valid_promql() {
    let dashboard = dashboard();
    let panel_queries = panel_queries(&dashboard);
    assert!(panel_queries.len() > 30, "{}", panel_queries.len());
    // The values that Grafana puts into the variables.
    let rules = panel_queries.iter().enumerate().map(|(number, query)| {
        let target = query["expr"].as_str().unwrap();
        let target = target.replace("$__rate_interval", "1m").replace("$instance", ".*");
        assert!(!target.contains('$'), "{target}");
        serde_json::json!({ "record": format!("asked:{number}"), "expr": target })
    });
    let groups =
        serde_json::json!({ "groups": [{ "name": "asked", "rules": rules.collect::<Vec<_>>() }] });
    let folder = TempDir::new();
    let file = folder.0.join("rules.yaml");
    fs::write(&file, groups.to_string()).unwrap();
    run_successfully(Command::new("promtool").args(["check", "rules"]).arg(file));
}

#[test]
fn dashboard_shows_exactly_the_exported_metrics() {
    let dashboard = text(DASHBOARD);
    let (named, exposed) = (metric_names::metric_names_in(&dashboard), metric_names::exposed());
    let unknown: Vec<_> = named.difference(exposed).collect();
    assert!(unknown.is_empty(), "no metrics of the daemon's: {unknown:?}");
    // For a histogram, the buckets are enough.
    let is_shown = |name: &&String| !name.ends_with("_sum") && !name.ends_with("_count");
    let missed: Vec<_> = exposed.difference(&named).filter(is_shown).collect();
    assert!(missed.is_empty(), "on no panel: {missed:?}");
}

#[test]
fn panels_have_unique_ids_and_positions() {
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
