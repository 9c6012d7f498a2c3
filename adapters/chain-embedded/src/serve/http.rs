//! As much of HTTP/1.1 as a JSON-RPC call needs: one POST with a length, one answer, connection closed.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const MAX_HEAD: u64 = 16 * 1024;
/// A package of 25 transactions or a block in hex fits.
const MAX_BODY: u64 = 20_000_000;

/// A call.
#[derive(Debug)]
pub(crate) struct Request {
    /// `user:password`.
    pub(crate) credentials: Option<String>,
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
    let (mut credentials, mut length, mut waits) = (None, None, false);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(BadRequest::Status("400 Bad Request"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => credentials = value.strip_prefix("Basic ").and_then(base64),
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
    Ok(Request { credentials, body })
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

/// Text in the base64 of RFC 4648, as basic authentication carries it (RFC 7617).
fn base64(coded: &str) -> Option<String> {
    let digits = coded.trim_end_matches('=');
    let (mut bits, mut count, mut bytes) = (0_u32, 0_u32, Vec::new());
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(coded).as_deref(), Some(plain));
        }
        assert_eq!(base64("Zm 9v"), None);
    }
}
