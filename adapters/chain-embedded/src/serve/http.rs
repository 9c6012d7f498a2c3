//! As much of HTTP/1.1 as a JSON-RPC call needs: one POST with a length, one answer, connection closed.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const MAX_HEAD: u64 = 16 * 1024;
/// A package of 25 transactions or a block in hex fits.
const MAX_BODY: u64 = 20_000_000;

/// A call.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no call.
#[derive(Debug)]
pub(crate) enum BadRequest {
    Io(io::Error),
    Status(&'static str),
}

impl From<io::Error> for BadRequest {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads one request.
pub(crate) fn read_request(stream: &TcpStream) -> Result<Request, BadRequest> {
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(MAX_HEAD);
    let mut line = String::new();
    head.read_line(&mut line)?;
    if !line.starts_with("POST ") {
        return Err(BadRequest::Status("405 Method Not Allowed"));
    }
    let (mut authorization, mut length, mut waits) = (None, None, false);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(BadRequest::Status("400 Bad Request"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse::<u64>().ok(),
            "expect" => waits = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
    }
    let length = length.ok_or(BadRequest::Status("411 Length Required"))?;
    if length > MAX_BODY {
        return Err(BadRequest::Status("413 Content Too Large"));
    }
    if waits {
        let mut writer = stream;
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    // Grows with what arrives, not with what is announced (I9).
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if u64::try_from(body.len()).ok() != Some(length) {
        return Err(BadRequest::Status("400 Bad Request"));
    }
    Ok(Request { authorization, body })
}

/// Writes the one answer.
pub(crate) fn respond(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let challenge =
        if status.starts_with("401") { "WWW-Authenticate: Basic realm=\"jsonrpc\"\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{challenge}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}
