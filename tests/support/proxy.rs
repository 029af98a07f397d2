//! A front before a real server: passes requests on, or plays another kind of server
//! for a while. It counts what is asked.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use url::form_urlencoded;

use super::cuttable_proxy::Place;
use super::scripted_server::{Canned, Reply};

/// What a front does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// Has the real server answer.
    Honest,
    /// Answers as some web server would.
    Html,
    /// Gives the first half of the real server's answer, and hangs up.
    HalfAnswers,
    /// Lists no containers; all else is honest.
    Empty,
    /// Likewise, and says that it is another engine.
    Stranger,
}

/// A front on a TCP port before a real server.
pub struct Front {
    canned: Canned,
    play: Arc<Mutex<Play>>,
    /// In milliseconds.
    lag: Arc<AtomicU64>,
}

impl Front {
    /// Before a server; everything is passed on as it is.
    pub fn before(server: Place) -> Self {
        Self::with(server, |target| target.to_owned())
    }

    /// Before a Docker engine, which it shows as having no containers but those with
    /// this label; nor does it tell of events of others. (Those of networks have no such
    /// label, and are not told of at all.)
    pub fn narrowed(engine: Place, label: &str) -> Self {
        let label = label.to_owned();
        Self::with(engine, move |target| match is_listing(target) || is_event_stream(target) {
            true => with_label(target, &label),
            false => target.to_owned(),
        })
    }

    fn with(server: Place, rewrite: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let play = Arc::new(Mutex::new(Play::Honest));
        let lag = Arc::<AtomicU64>::default();
        let (played, lagging) = (Arc::clone(&play), Arc::clone(&lag));
        let canned = Canned::tcp(move |request| {
            let play = *played.lock().unwrap();
            if play == Play::Html {
                return Reply::html();
            }
            let target = rewrite(&request.target);
            if is_event_stream(&target) {
                return stream(&server, &target);
            }
            let answer = ask(&server, &request.method, &target, &request.body);
            thread::sleep(Duration::from_millis(lagging.load(Ordering::SeqCst)));
            match answer {
                Ok((_, body)) if play == Play::HalfAnswers => {
                    Reply::CutOff { body: body.chars().take(body.len() / 2).collect() }
                }
                Ok(_) if is_listing(&target) && matches!(play, Play::Empty | Play::Stranger) => {
                    Reply::json("[]")
                }
                Ok((status, body)) if play == Play::Stranger => {
                    Reply::status(status, body.replace("\"ID\":\"", "\"ID\":\"OTHER:"))
                }
                Ok((status, body)) => Reply::status(status, body),
                Err(_) => Reply::Hangup,
            }
        });
        Self { canned, play, lag }
    }

    /// From now on it does this.
    pub fn plays(&self, play: Play) {
        *self.play.lock().unwrap() = play;
    }

    /// From now on its answers are as old as this when they come; event streams are not
    /// held up.
    pub fn lags(&self, by: Duration) {
        self.lag.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.canned.authority()
    }

    /// Where it listens, as the far end of a relay.
    pub fn place(&self) -> Place {
        Place::Tcp(self.authority().parse().unwrap())
    }

    /// How many listings were asked for so far, and how many other things.
    pub fn asked(&self) -> (usize, usize) {
        let requests = self.canned.requests();
        let listings = requests.iter().filter(|request| is_listing(&request.target)).count();
        (listings, requests.len() - listings)
    }
}

fn is_listing(target: &str) -> bool {
    path(target).ends_with("/containers/json")
}

fn is_event_stream(target: &str) -> bool {
    path(target).ends_with("/events")
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// The same question with one more filter.
fn with_label(target: &str, label: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut filters = serde_json::json!({});
    let mut rewritten = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "filters" => filters = serde_json::from_str(&value).unwrap(),
            _ => _ = rewritten.append_pair(&key, &value),
        }
    }
    filters["label"] = serde_json::json!([label]);
    let query = rewritten.append_pair("filters", &filters.to_string()).finish();
    format!("{}?{query}", path(target))
}

/// The server's answer as it comes, byte by byte, until either side ends it.
fn stream(server: &Place, target: &str) -> Reply {
    let head = format!("GET {target} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n");
    let answer: io::Result<Box<dyn Read>> = match server {
        Place::Unix(path) => UnixStream::connect(path).and_then(|it| asked(it, &head)),
        Place::Tcp(address) => TcpStream::connect(address).and_then(|it| asked(it, &head)),
    };
    match answer {
        Ok(mut answer) => {
            Reply::Written(Box::new(move |client| io::copy(&mut answer, client).map(|_| ())))
        }
        Err(_) => Reply::Hangup,
    }
}

fn asked(mut stream: impl Read + Write + 'static, head: &str) -> io::Result<Box<dyn Read>> {
    stream.write_all(head.as_bytes())?;
    Ok(Box::new(stream))
}

/// The server's status and body. HTTP/1.0, so that the body ends where the connection
/// does.
pub fn ask(server: &Place, method: &str, target: &str, body: &str) -> io::Result<(u16, String)> {
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: server\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = match server {
        Place::Unix(path) => converse(UnixStream::connect(path)?, &head, body),
        Place::Tcp(address) => converse(TcpStream::connect(address)?, &head, body),
    }?;
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}

fn converse(mut stream: impl Read + Write, head: &str, body: &str) -> io::Result<String> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
