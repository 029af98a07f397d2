//! A real headless Chromium, driven over WebDriver by Debian's chromedriver.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::{TempDir, eventually, free_port, tools};

/// Starting a browser takes long on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A browser with one page. Dropping it ends the browser.
pub struct Browser {
    port: u16,
    session: String,
    driver: Child,
    _dir: TempDir,
}

impl Browser {
    /// Returns `None` without Chromium, with a visible message; in CI this is a failure.
    #[track_caller]
    pub fn start() -> Option<Self> {
        let (program, chromium) = (tools::program("chromedriver")?, tools::program("chromium")?);
        let (dir, port) = (TempDir::new(), free_port());
        let log = File::create(dir.0.join("log")).unwrap();
        let driver = Command::new(program)
            .arg(format!("--port={port}"))
            .env("HOME", &dir.0)
            .env("TMPDIR", &dir.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut browser = Self { port, session: String::new(), driver, _dir: dir };
        let profile = browser._dir.0.join("profile");
        let options = json!({
            "binary": chromium,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                format!("--user-data-dir={}", profile.display()),
            ],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        eventually("chromedriver is ready", TIMEOUT, || {
            let answer = send(port, "GET", "/status", "").ok()?;
            answer["value"]["ready"].as_bool().filter(|ready| *ready)
        });
        let answer = send(port, "POST", "/session", &wanted.to_string()).unwrap();
        let session = answer["value"]["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("no browser: {answer}"));
        browser.session = session.to_owned();
        Some(browser)
    }

    #[track_caller]
    fn command(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{path}", self.session);
        let answer = send(self.port, "POST", &path, &body.to_string()).unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Runs a script in the page. Returns its result.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The visible text of the only element that matches this selector.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let find = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&find).as_str().unwrap().to_owned()
    }

    /// Waits until the visible text of an element matches. Returns the text.
    #[track_caller]
    pub fn wait_for_text(
        &self,
        what: &str,
        selector: &str,
        matches: impl Fn(&str) -> bool,
    ) -> String {
        eventually(what, TIMEOUT, || Some(self.text(selector)).filter(|text| matches(text)))
    }

    /// The console messages since the last call, each with its level, except those of the
    /// browser's own pages.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let lines = self.command("se/log", &json!({ "type": "browser" }));
        let line = |line: &Value| format!("{}: {}", line["level"], line["message"]);
        let lines = lines.as_array().unwrap().iter().map(line);
        lines.filter(|line| !line.contains("chrome://")).collect()
    }

    /// Sends a command of the Chrome DevTools Protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Sets the width of the page in CSS pixels, and the light or dark scheme.
    #[track_caller]
    pub fn emulate(&self, width: u32, scheme: &str) {
        let narrow = width < 700;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": narrow }),
        );
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Takes a screenshot of the whole page.
    #[track_caller]
    pub fn save_screenshot(&self, path: &Path) {
        let whole = json!({ "captureBeyondViewport": true, "format": "png" });
        let image = self.devtools("Page.captureScreenshot", &whole);
        let bytes = BASE64_STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Ends the browser; ending the driver alone would leak it.
            let _ = send(self.port, "DELETE", &format!("/session/{}", self.session), "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Sends a request to the driver and parses its JSON. The driver keeps the connection open, so
/// the length of the body is read from the head.
fn send(port: u16, method: &str, path: &str, body: &str) -> io::Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
