//! Tests of the configuration file: its name, its formats, and keys that are given twice.

use super::*;

#[test]
fn sample_file_equals_the_defaults() {
    assert_eq!(settings(&with_file("config/highhock.json")), settings(&sources()));
}

#[test]
fn sample_file_lists_every_key_with_its_default() {
    fn flatten(section: &str, table: Map<String, Value>, into: &mut BTreeMap<String, ValueKind>) {
        for (name, value) in table {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value.kind {
                ValueKind::Table(table) => flatten(&path, table, into),
                kind => assert_eq!(into.insert(path, kind), None),
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/highhock.json");
    let mut sample = BTreeMap::new();
    flatten("", file::read(&path).unwrap().unwrap().table, &mut sample);
    // The package installs this file. A value would stay set when the default for another store or
    // another machine differs.
    let varies = [
        "skydns.layout",
        "discovery.interface",
        "discovery.methods",
        "discovery.address",
        "discovery.composeProject",
    ];
    for key in KEYS {
        let value = sample.remove(key.path).unwrap_or_else(|| panic!("{} is missing", key.path));
        let default = key.default_value().filter(|_| !varies.contains(&key.path));
        let default = default.unwrap_or(ValueKind::Nil);
        assert!(key::same_value(&value, &default), "{}: {value:?} is not {default:?}", key.path);
    }
    assert_eq!(sample.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn loads_older_spellings_in_each_format() {
    let json = settings(&with_file("tests/fixtures/first-readme.json"));
    assert_eq!(json.discovery.interface, "eth1");
    assert_eq!(json.log.level, LogLevel::Notice);
    assert_eq!(json.docker.url, DockerUrl::Tcp("127.0.0.1:2375".to_owned()));
    assert_eq!(json.docker.version, DockerVersion::Exactly { major: 1, minor: 16 });
    assert_eq!((json.docker.poll.as_secs(), json.docker.poll_container.as_secs()), (12, 7));
    assert_eq!(json.skydns.domain.to_string(), "highhock.local");
    assert_eq!((json.skydns.domain_is_set, json.skydns.ttl.get()), (true, 90));
    for other in ["tests/fixtures/first-readme.yaml", "tests/fixtures/first-readme.toml"] {
        assert_eq!(settings(&with_file(other)), json, "{other}");
    }
}

#[test]
fn only_an_explicit_file_must_exist() {
    let missing = with_file("nonexistent.json");
    let expected = file_error(&missing, "", SettingsErrorKind::MissingFile);
    assert_eq!(only_error(&missing), expected);
    let folder = with_file("src");
    let kind = SettingsErrorKind::UnreadableFile("Is a directory (os error 21)".to_owned());
    assert_eq!(only_error(&folder), file_error(&folder, "", kind));
}

#[test]
fn environment_names_the_file_unless_a_flag_does() {
    let fixture = |name: &str| with_file(name).file.unwrap().path;
    let found = |flag: Option<PathBuf>, variable: (&str, &str)| {
        let environment = [variable].into_iter().collect();
        Sources::new(flag.map(ConfigFile::from), Vec::new(), environment).file
    };
    let json = fixture("tests/fixtures/first-readme.json");
    let path = json.to_str().unwrap();
    let named_by = FileOrigin::Variable("HIGHHOCK_CONFIG".to_owned());
    let file = found(None, ("HIGHHOCK_CONFIG", path)).unwrap();
    assert_eq!(file, ConfigFile { path: json.clone(), named_by });
    assert_eq!(settings(&Sources { file: Some(file), ..sources() }).discovery.interface, "eth1");
    assert_eq!(found(None, ("highhock_config", path)).unwrap().path, json);
    assert_eq!(found(None, ("HIGHHOCK_CONFIG", "")), None);
    let by_flag = found(Some("flag.json".into()), ("HIGHHOCK_CONFIG", path)).unwrap();
    assert_eq!(by_flag, PathBuf::from("flag.json").into());

    let missing = Sources { file: found(None, ("HIGHHOCK_CONFIG", "/no/file")), ..sources() };
    let kind = SettingsErrorKind::MissingFileOfVariable { variable: "HIGHHOCK_CONFIG".to_owned() };
    assert_eq!(only_error(&missing), file_error(&missing, "", kind));
    let named_by = FileOrigin::AttachedFlag("-cleanup".to_owned());
    let file = ConfigFile { path: "leanup".into(), named_by };
    let attached = Sources { file: Some(file), ..sources() };
    let (written, file) = ("-cleanup".to_owned(), "leanup".to_owned());
    let kind = SettingsErrorKind::MissingAttachedFile { written, file };
    assert_eq!(only_error(&attached), file_error(&attached, "", kind));
}

#[test]
fn key_given_twice_is_an_error_unless_the_values_are_equal() {
    let sources = with_file("tests/fixtures/repeated-keys.json");
    let twice = |key| file_error(&sources, key, SettingsErrorKind::GivenTwice);
    assert_eq!(errors(&sources), ["etcd.ttl", "skydns"].map(twice));
    for name in ["tests/fixtures/equal-keys.json", "tests/fixtures/equal-keys.yaml"] {
        let sources = with_file(name);
        let origin = Origin::File(sources.file.clone().unwrap().path);
        let Loaded { settings, warnings, .. } = load(&sources).unwrap();
        assert_eq!(settings.etcd.ttl.as_secs(), 15);
        let given = Warning::GivenTwice { origin: origin.clone(), key: "etcd.ttl".to_owned() };
        let (key, other) = ("publicHost".to_owned(), "discovery.host".to_owned());
        assert_eq!(warnings, [given, Warning::SetTwice { origin, key, other }], "{name}");
    }
}

#[test]
fn null_means_not_set_in_json_and_yaml() {
    for name in ["tests/fixtures/nulls.json", "tests/fixtures/nulls.yaml"] {
        assert_eq!(settings(&with_file(name)), settings(&sources()), "{name}");
    }
}

#[test]
fn file_with_only_comments_gives_the_defaults_and_a_warning() {
    for extension in ["json", "yaml", "toml"] {
        let sources = with_file(&format!("tests/fixtures/only-comments.{extension}"));
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.settings, settings(&self::sources()));
        let origin = Origin::File(sources.file.clone().unwrap().path);
        assert_eq!(loaded.warnings, [Warning::OnlyComments(origin)]);
        let empty = with_file(&format!("tests/fixtures/empty.{extension}"));
        assert_eq!(only_error(&empty), file_error(&empty, "", SettingsErrorKind::EmptyFile));
    }
}

#[test]
fn parse_error_does_not_hide_errors_of_other_layers() {
    let mut sources = with_file("tests/fixtures/broken.json");
    sources.flags = vec![flag("etcd.ttl", "0")];
    let errors = errors(&sources);
    let kind = invalid_value("\"0\"", "a whole number from 5 to 86400 (seconds)");
    assert_eq!(errors[1..], [flag_error("etcd.ttl", kind)]);
    let SettingsErrorKind::UnparsableFile(reason) = &errors[0].kind else { panic!("{errors:?}") };
    assert!(reason.contains("line 4"), "{reason}");
}
