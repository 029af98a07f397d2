//! A front before a real server: passes requests on, or plays another kind of server
//! for a while. It counts what is asked.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use super::canned::{Canned, Reply, Request};
use super::relay::Place;

/// What a front does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// Has the real server answer.
    Honest,
    /// Answers as some web server would.
    Html,
    /// Gives the first half of the real server's answer, and hangs up.
    HalfAnswers,
}

/// A front on a TCP port before a real server.
pub struct Front {
    canned: Canned,
    play: Arc<Mutex<Play>>,
}

impl Front {
    /// Before a server; everything is passed on as it is.
    pub fn before(server: Place) -> Self {
        Self::with(server, |target| target.to_owned())
    }

    /// Before a Docker engine, which it shows as having no containers but those with
    /// this label.
    pub fn narrowed(engine: Place, label: &str) -> Self {
        let filter = format!("filters=%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        Self::with(engine, move |target| match target.split_once('?') {
            _ if !is_listing(target) => target.to_owned(),
            Some((path, query)) => format!("{path}?{query}&{filter}"),
            None => format!("{target}?{filter}"),
        })
    }

    fn with(server: Place, rewrite: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let play = Arc::new(Mutex::new(Play::Honest));
        let played = Arc::clone(&play);
        let canned = Canned::tcp(move |request| {
            let play = *played.lock().unwrap();
            if play == Play::Html {
                return Reply::html();
            }
            match pass_on(&server, request, &rewrite(&request.target)) {
                Ok((_, body)) if play == Play::HalfAnswers => {
                    Reply::CutOff { body: body.chars().take(body.len() / 2).collect() }
                }
                Ok((status, body)) => Reply::status(status, body),
                Err(_) => Reply::Hangup,
            }
        });
        Self { canned, play }
    }

    /// From now on it does this.
    pub fn plays(&self, play: Play) {
        *self.play.lock().unwrap() = play;
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
    target.split('?').next().is_some_and(|path| path.ends_with("/containers/json"))
}

/// The server's status and body. HTTP/1.0, so that the body ends where the connection
/// does.
fn pass_on(server: &Place, request: &Request, target: &str) -> io::Result<(u16, String)> {
    let head = format!(
        "{} {target} HTTP/1.0\r\nHost: server\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        request.method,
        request.body.len()
    );
    let answer = match server {
        Place::Unix(path) => converse(UnixStream::connect(path)?, &head, &request.body),
        Place::Tcp(address) => converse(TcpStream::connect(address)?, &head, &request.body),
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
