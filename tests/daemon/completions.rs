//! The output of `highhock completions`, tested in the real shells.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output};

use support::TempDir;
use support::tools::program;

fn completions(shell: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highhock")).args(["completions", shell]).output().unwrap()
}

/// A folder with the completion script of a shell in a file of this name.
fn write_script(shell: &str, name: &str) -> TempDir {
    let output = completions(shell);
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let dir = TempDir::new();
    std::fs::write(dir.0.join(name), output.stdout).unwrap();
    dir
}

/// Runs a script in its shell. Returns the output.
fn run(shell: &str, arguments: &[&str], dir: &TempDir, script: &str) -> Option<String> {
    let shell = program(shell)?;
    let home = dir.0.to_str().unwrap();
    let output = Command::new(shell)
        .args(arguments)
        .arg(script)
        .current_dir(&dir.0)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs([("HOME", home), ("TERM", "dumb")])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn bash_completes_commands_and_flags() {
    let dir = write_script("bash", "highhock.bash");
    for (words, expected, other) in [
        ("highhock ''", "records", "--etcd-url"),
        ("highhock rec", "records", "check"),
        ("highhock --docker-p", "--docker-poll-container", "--etcd-url"),
    ] {
        let script = format!(
            r#"source ./highhock.bash
            complete -p highhock | grep -q _highhock || exit 1
            COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _highhock highhock "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
            printf '%s\n' "${{COMPREPLY[@]}}""#
        );
        let Some(replies) = run("bash", &["--norc", "-c"], &dir, &script) else { return };
        let replies: Vec<_> = replies.split_whitespace().collect();
        assert!(replies.contains(&expected), "{words}: {replies:?}");
        let begun = words.rsplit(' ').next().unwrap().trim_matches('\'');
        assert!(begun.is_empty() || !replies.contains(&other), "{words}: {replies:?}");
    }
}

#[test]
fn zsh_loads_the_script() {
    let dir = write_script("zsh", "_highhock");
    let script = "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -d $PWD/dump
        print -r -- $_comps[highhock]
        autoload -Uz +X _highhock && print -r -- loaded";
    let Some(said) = run("zsh", &["-f", "-c"], &dir, script) else { return };
    assert_eq!(said, "_highhock\nloaded\n");
}

#[test]
fn fish_completes_commands_and_flags() {
    let dir = write_script("fish", "highhock.fish");
    for (line, expected, other) in [
        ("highhock rec", "records", "check"),
        ("highhock --docker-p", "--docker-poll-container", "--etcd-url"),
    ] {
        let script = format!("source ./highhock.fish; complete --do-complete '{line}'");
        let Some(said) = run("fish", &["--no-config", "-c"], &dir, &script) else { return };
        let replies: Vec<_> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        assert!(replies.contains(&expected), "{line}: {replies:?}");
        assert!(!replies.contains(&other), "{line}: {replies:?}");
    }
}

#[test]
fn unknown_shell_is_a_usage_error() {
    for arguments in [&["completions", "tcsh"][..], &["completions"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_highhock")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn write_error_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_highhock"));
    let output = program.args(["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("writing to standard output"), "{complaint}");
}
