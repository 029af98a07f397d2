//! The alerts, tested with promtool.

use std::fs;
use std::process::Command;

use crate::support::TempDir;
use crate::{file, metric_names, run, run_successfully, text};

const RULES: &str = "deploy/prometheus/alerts.yaml";
const CASES: &str = "deploy/prometheus/alerts_test.yaml";

/// The start of a rule or a case; its name follows.
const RULE_START: &str = "\n      - alert: ";
const CASE_START: &str = "\n  - name: ";

fn promtool(verb: &str, file: &std::path::Path) -> Command {
    let mut command = Command::new("promtool");
    command.args([verb, "rules"]).arg(file);
    command
}

/// Returns the text before the first block, and the named blocks.
fn split_blocks<'a>(text: &'a str, begin: &str) -> (&'a str, Vec<(&'a str, &'a str)>) {
    let mut pieces = text.split(begin);
    let head = pieces.next().unwrap();
    (head, pieces.map(|piece| (piece.lines().next().unwrap(), piece)).collect())
}

#[test]
fn rules_are_valid() {
    run_successfully(&mut promtool("check", &file(RULES)));
}

#[test]
fn every_rule_test_passes() {
    run_successfully(&mut promtool("test", &file(CASES)));
}

/// Every rule has a case in which it fires and a case in which it does not, so a rule that always
/// or never fires is found.
#[test]
fn every_rule_has_tests_that_detect_changes() {
    let (rules, cases) = (text(RULES), text(CASES));
    let (_, rules) = split_blocks(&rules, RULE_START);
    let (head, cases) = split_blocks(&cases, CASE_START);
    let folder = TempDir::new();
    let (rules_file, cases_file) = (folder.0.join("alerts.yaml"), folder.0.join("cases.yaml"));
    for (name, rule) in rules {
        let mine = cases.iter().filter(|(of, _)| *of == name);
        let mine: String = mine.map(|(_, case)| format!("{CASE_START}{case}")).collect();
        fs::write(&cases_file, format!("{head}{mine}")).unwrap();
        let holds = |rule: &str| {
            let rules = format!("groups:\n  - name: one\n    rules:{RULE_START}{rule}");
            fs::write(&rules_file, rules).unwrap();
            run(&mut promtool("test", &cases_file)).0
        };
        assert!(holds(without_next_group(rule)), "{name}: its cases fail by themselves");
        for broken in ["vector(0) > 1", "vector(1)"] {
            assert!(!holds(&with_expression(rule, broken)), "{name}: {broken} goes unnoticed");
        }
    }
}

#[test]
fn every_rule_has_severity_summary_and_action() {
    let rules = text(RULES);
    let (_, rules) = split_blocks(&rules, RULE_START);
    assert!(rules.len() > 20, "{}", rules.len());
    for (name, rule) in rules {
        for part in ["severity: ", "summary: \"", "description: \"", "action: \""] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        let severity = rule.split("severity: ").nth(1).unwrap().lines().next().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
    }
}

#[test]
fn rules_use_only_exported_metrics() {
    let exposed = metric_names::exposed();
    for name in metric_names::metric_names_in(&text(CASES)) {
        assert!(exposed.contains(&name), "{name} is no metric of the daemon's");
    }
    // A rule's text names a histogram without a suffix.
    for name in metric_names::metric_names_in(&text(RULES)) {
        let is_known = exposed.contains(&name) || exposed.contains(&format!("{name}_bucket"));
        assert!(is_known, "{name} is no metric of the daemon's");
    }
}

/// Cuts the head of the next group off the last rule of a group.
fn without_next_group(rule: &str) -> &str {
    rule.split("\n  - name: ").next().unwrap()
}

fn with_expression(rule: &str, expression: &str) -> String {
    let rule = without_next_group(rule);
    let begin = rule.find("        expr:").unwrap();
    let after = ["\n        for:", "\n        labels:"];
    let end = after.iter().filter_map(|key| rule.find(key)).min().unwrap();
    format!("{}        expr: {expression}{}", &rule[..begin], &rule[end..])
}
