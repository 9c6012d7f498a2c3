//! Waiting for what the node has begun: by looking again and again, so that neither a client nor a node that goes away
//! loses anything.
use std::thread;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use serde_json::{Map, Value, json};

use super::args;
use super::client::Client;
use crate::api::methods::Wait;
use crate::api::response::{Channel, ChannelList, ChannelState, Payment, PaymentState};
use crate::error::{ApiError, Code};
use crate::output::Progress;

/// The first pause between two looks; each is longer than the last, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A node that does not answer for this long is gone: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait; `None` not at all, and without a limit inside for ever.
pub(super) fn options(wait: Wait, given: &ArgMatches) -> Option<Option<Duration>> {
    let wanted = match wait {
        Wait::No => false,
        Wait::Payment => !given.get_flag(args::NO_WAIT),
        Wait::Open | Wait::Close => given.get_flag(args::WAIT),
    };
    wanted.then(|| given.get_one::<u64>(args::TIMEOUT).map(|seconds| Duration::from_secs(*seconds)))
}

/// How far something is.
enum Look {
    /// Under way; said to people.
    Pending(String),
    /// Over, well or not.
    Over(Result<(), ApiError>),
}

/// Looks until what `answer` tells of is over. Answers what is known last, and whether it went well.
pub(super) fn until_done(
    client: &Client,
    wait: Wait,
    answer: Value,
    limit: Option<Duration>,
) -> (Value, Result<(), ApiError>) {
    let began = Instant::now();
    let mut progress = None;
    let mut last = answer;
    let mut pause = FIRST_PAUSE;
    let mut answered = Instant::now();
    loop {
        let (message, lookup) = match look(wait, &last) {
            (Look::Over(end), _) => return (last, end),
            (Look::Pending(message), lookup) => (message, lookup),
        };
        progress.get_or_insert_with(|| Progress::start(&message)).say(&message);
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            let error = ApiError::new(Code::StillPending, format!("given up waiting: {message}"));
            return (last, Err(error.hint(format!("it goes on; look with `lnode {}`", lookup.command))));
        }
        thread::sleep(pause);
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        match lookup.ask(client) {
            Ok(found) => {
                last = found;
                answered = Instant::now();
            }
            Err(error) if error.code == Code::NotReady || error.code == Code::DaemonUnreachable => {
                if answered.elapsed() > PATIENCE {
                    let hint = format!("what was begun goes on when it is back: `lnode {}`", lookup.command);
                    return (last, Err(error.hint(hint)));
                }
            }
            Err(error) => return (last, Err(error)),
        }
    }
}

/// How to look again.
struct Lookup {
    method: &'static str,
    request: Map<String, Value>,
    /// The channel to pick out of the list.
    channel: Option<String>,
    /// The channel as it was seen last.
    last: Channel,
    command: String,
}

impl Lookup {
    fn ask(&self, client: &Client) -> Result<Value, ApiError> {
        let Some(id) = &self.channel else {
            return client.call(self.method, &Value::Object(self.request.clone()));
        };
        let list: ChannelList = client.ask(self.method, Map::new())?;
        let found = list.channels.into_iter().find(|channel| channel.channel_id == *id);
        // A node may forget a channel once nothing of it is left: closed, and what it was opened for is void.
        let found = found.unwrap_or_else(|| Channel { state: ChannelState::Closed, ..self.last.clone() });
        serde_json::to_value(found).map_err(|error| ApiError::new(Code::Internal, error.to_string()))
    }
}

fn look(wait: Wait, last: &Value) -> (Look, Lookup) {
    match wait {
        Wait::Payment => {
            let payment: Payment = serde_json::from_value(last.clone()).unwrap_or_default();
            let hash = payment.payment_hash.clone();
            let request = [("payment_hash".to_owned(), json!(hash))].into_iter().collect();
            let command = format!("getpayment {hash}");
            let lookup =
                Lookup { method: "getpayment", request, channel: None, last: Channel::default(), command };
            (look_at_payment(&payment), lookup)
        }
        Wait::No | Wait::Open | Wait::Close => {
            let channel: Channel = serde_json::from_value(last.clone()).unwrap_or_default();
            let look = if wait == Wait::Close { look_at_end(&channel) } else { look_at_opening(&channel) };
            let lookup = Lookup {
                method: "listchannels",
                request: Map::new(),
                channel: Some(channel.channel_id.clone()),
                last: channel,
                command: "listchannels".into(),
            };
            (look, lookup)
        }
    }
}

fn look_at_payment(payment: &Payment) -> Look {
    match payment.state {
        PaymentState::Succeeded => Look::Over(Ok(())),
        PaymentState::Failed => {
            let reason = payment.failure.as_deref().unwrap_or("the node does not say why");
            let message = format!("the payment failed, nothing was paid: {reason}");
            Look::Over(Err(ApiError::new(Code::PaymentFailed, message)))
        }
        PaymentState::Pending => Look::Pending(format!(
            "paying: attempt {}, {} under way",
            payment.attempts.saturating_add(1),
            count(payment.parts, "part")
        )),
    }
}

fn look_at_opening(channel: &Channel) -> Look {
    match channel.state {
        ChannelState::Open => Look::Over(Ok(())),
        ChannelState::Opening => Look::Pending("opening: negotiating with the peer".into()),
        ChannelState::AwaitingConfirmations => Look::Pending(format!(
            "opening: {} of {} confirmations",
            channel.confirmations, channel.confirmations_needed
        )),
        ChannelState::Offline => Look::Pending("opening: the peer is not connected".into()),
        ChannelState::Closing | ChannelState::Resolving | ChannelState::Closed => {
            let reason =
                if channel.close_reason.is_empty() { "no reason given" } else { &channel.close_reason };
            let message = format!("the channel is being closed instead of opened: {reason}");
            Look::Over(Err(ApiError::new(Code::WrongChannelState, message)))
        }
    }
}

fn look_at_end(channel: &Channel) -> Look {
    match channel.state {
        ChannelState::Closed => Look::Over(Ok(())),
        ChannelState::Resolving => {
            Look::Pending("closing: bringing our outputs home, which takes blocks".into())
        }
        ChannelState::Offline => Look::Pending("closing: the peer is not connected".into()),
        ChannelState::Opening
        | ChannelState::AwaitingConfirmations
        | ChannelState::Open
        | ChannelState::Closing => Look::Pending("closing: agreeing with the peer".into()),
    }
}

fn count(number: u32, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
