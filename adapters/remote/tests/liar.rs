//! A tower that lies, and a client that attacks: whatever they say, no receipt is given for it and no memory is filled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod yard;

use lightning_remote::wire::chain::{
    Acknowledgement, ChainFault, Kept, KeyAtHand, Signed, Statement, StatementSigner as _, is_fork,
};
use lightning_remote::wire::frame::{FRAME_PAYLOAD, Frame, Link, WINDOW};
use lightning_remote::wire::{Answer, Goodbye, Head, Hello, Mode, Name, PROTOCOL, Request};
use lightning_remote::{Alarm, RecordPolicy, RemoteConfig, RemoteMonitors};
use lightning_traits::Secp;
use lightning_traits::id::{NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{LateRefusal, MonitorRefusal, Persist};
use yard::{Disk, Monitors, channel, key, new_channel, point, service, update};

const TOWER: u8 = 60;

fn client() -> NodeId {
    NodeId::from(point(50))
}

/// A tower made by hand.
struct Liar {
    remote: RemoteMonitors,
    link: Link,
    count: u64,
    previous: [u8; 32],
    heard: Vec<Request>,
}

impl Liar {
    /// Greeted, and with a channel whose updates 0 and 1 were sent to it.
    fn new() -> Self {
        let remote =
            RemoteMonitors::new(RemoteConfig::new(client(), point(TOWER), RecordPolicy::Withheld), 100, None);
        assert_eq!(remote.add_channel(new_channel(1)), Persist::InProgress);
        assert_eq!(remote.update_channel(update(1, 1, 1)), Persist::InProgress);
        let link = Link::new(101, 1_000_000);
        let mut liar = Self { remote, link, count: 0, previous: [0; 32], heard: vec![] };
        liar.greet();
        liar
    }

    fn greet(&mut self) {
        self.remote.connected();
        let first = self.remote.next_frame().unwrap();
        self.link = Link::new(Frame::read(&first).unwrap().session, 1_000_000);
        let hello = self.link.on_frame(&Frame::read(&first).unwrap()).unwrap().unwrap();
        assert!(matches!(Request::from_versioned(&hello), Ok(Request::Hello { .. })));
        self.say(&Answer::Welcome { version: PROTOCOL });
    }

    fn stand(&mut self, kept: Vec<Kept>) {
        let page = self.signed(Statement::Standing { page: 0, last: true }, kept);
        self.say(&Answer::Kept { statement: page });
    }

    fn signed(&mut self, statement: Statement, kept: Vec<Kept>) -> Signed {
        self.count += 1;
        let acknowledgement = Acknowledgement {
            client: client(),
            count: self.count,
            previous: self.previous,
            session: self.link.session(),
            statement,
            kept,
            tip: None,
        };
        self.previous = acknowledgement.digest();
        let signature = KeyAtHand::new(key(TOWER)).sign_statement(&acknowledgement.digest());
        Signed { acknowledgement, signature }
    }

    fn say(&mut self, answer: &Answer) {
        self.link.push(answer.to_versioned());
        loop {
            let mut moved = false;
            while let Some(frame) = self.link.next_frame() {
                self.remote.on_frame(&frame);
                moved = true;
            }
            while let Some(frame) = self.remote.next_frame() {
                moved = true;
                let frame = Frame::read(&frame).unwrap();
                if frame.session == self.link.session()
                    && let Some(message) = self.link.on_frame(&frame).unwrap()
                {
                    self.heard.push(Request::from_versioned(&message).unwrap());
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn durable(&mut self, id: u64, name: Name) {
        let kept = vec![Kept { channel: channel(1), head: Head { id: UpdateId(id), name: Some(name) } }];
        let statement = self.signed(Statement::Durable {}, kept);
        self.say(&Answer::Kept { statement });
    }

    fn alarms(&self) -> Vec<Alarm> {
        std::iter::from_fn(|| self.remote.next_alarm()).collect()
    }

    fn receipts(&self) -> usize {
        std::iter::from_fn(|| self.remote.next_receipt()).count()
    }
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let mut liar = Liar::new();
    liar.stand(vec![]);
    assert_eq!(liar.heard.len(), 2);
    liar.durable(2, Name([1; 32]));
    assert_eq!(liar.receipts(), 0);
    assert_eq!(liar.alarms(), [Alarm::Garbled]);
    // Nor what was sent, by another name: it is sent again, whole.
    liar.durable(1, Name([1; 32]));
    assert_eq!(liar.receipts(), 0);
    assert_eq!(liar.remote.next_wanted(), Some(channel(1)));
}

#[test]
fn l18_a_forked_chain_ends_it_for_good_and_proves_itself() {
    let mut liar = Liar::new();
    liar.stand(vec![]);
    liar.durable(0, Name::of_new(&new_channel(1)));
    assert_eq!(liar.receipts(), 1);
    // Another history from before that statement on.
    liar.count -= 1;
    liar.previous = [7; 32];
    liar.durable(1, Name::of_update(&update(1, 1, 1)));
    assert_eq!(liar.receipts(), 0);
    let alarms = liar.alarms();
    let [Alarm::Statement { fault: ChainFault::Forked { proof } }] = &alarms[..] else {
        panic!("{alarms:?}")
    };
    assert!(is_fork(&Secp::new(), &point(TOWER), &proof.0, &proof.1));
    assert!(!liar.remote.is_up());
    liar.remote.disconnected();
    liar.remote.connected();
    liar.remote.timer_tick();
    assert_eq!(liar.remote.next_frame(), None, "it is not spoken to any more");
}

#[test]
fn a_statement_that_is_out_of_place_restarts_the_session_once_a_tick() {
    for wrong in 0..4 {
        let mut liar = Liar::new();
        match wrong {
            // Another page than the first.
            0 => {
                let statement = liar.signed(Statement::Standing { page: 1, last: true }, vec![]);
                liar.say(&Answer::Kept { statement });
            }
            // No list of all that is kept.
            1 => {
                let statement = liar.signed(Statement::Durable {}, vec![]);
                liar.say(&Answer::Kept { statement });
            }
            // A second welcome.
            2 => liar.say(&Answer::Welcome { version: PROTOCOL }),
            // A list once more.
            _ => {
                liar.stand(vec![]);
                liar.stand(vec![]);
            }
        }
        assert!(!liar.alarms().is_empty());
        assert!(!liar.remote.is_up());
        // Its next session is as bad, and then it has to wait for the tick.
        liar.remote.timer_tick();
        liar.greet();
        liar.stand(vec![]);
        assert!(liar.remote.is_up());
    }
}

#[test]
fn i9_a_channel_that_is_refused_again_and_again_is_wanted_once() {
    let mut liar = Liar::new();
    liar.stand(vec![]);
    for _ in 0..100 {
        let why = MonitorRefusal::UnknownChannel;
        let refusal = LateRefusal { channel: channel(1), id: UpdateId(1), why };
        liar.say(&Answer::Refused { refusal });
    }
    assert_eq!(liar.remote.next_wanted(), Some(channel(1)));
    assert_eq!(liar.remote.next_wanted(), None);
}

#[test]
fn i9_answers_without_end_are_not_kept() {
    let mut liar = Liar::new();
    liar.stand(vec![]);
    for _ in 0..2_000 {
        liar.say(&Answer::Other { kind: 1, body: vec![0; 1_000] });
        liar.durable(9, Name([0; 32]));
    }
    assert_eq!(std::iter::from_fn(|| liar.remote.next_other()).count(), 256);
    assert_eq!(liar.alarms().len(), 256);
    // What nobody asked for is not taken, however large.
    liar.say(&Answer::Found { channel: channel(1), state: None });
    assert_eq!(liar.remote.next_found(), None);
}

/// A client made by hand, before an honest service.
struct Attacker {
    service: yard::Service,
    link: Link,
    answers: Vec<Answer>,
    tower: std::rc::Rc<Monitors>,
}

impl Attacker {
    fn new() -> Self {
        let tower = Monitors::on(Disk::default(), 5);
        let service = service(&tower, TOWER, client());
        Self { service, link: Link::new(7, 1_000_000), answers: vec![], tower }
    }

    fn hello(version: u16) -> Request {
        Request::Hello { hello: Hello { version, mode: Mode::Full {}, incarnation: 1, last: None } }
    }

    fn say(&mut self, request: &Request) {
        self.link.push(request.to_versioned());
        self.run();
    }

    fn run(&mut self) {
        for _ in 0..4 {
            while let Some(frame) = self.link.next_frame() {
                self.service.on_frame(&frame);
            }
            self.service.process();
            while let Some(frame) = self.service.next_frame() {
                if let Some(message) = self.link.on_frame(&Frame::read(&frame).unwrap()).unwrap() {
                    self.answers.push(Answer::from_versioned(&message).unwrap());
                }
            }
        }
    }
}

#[test]
fn nothing_is_taken_before_a_hello_that_fits() {
    let mut attacker = Attacker::new();
    attacker.say(&Request::New { new: new_channel(1).to_versioned() });
    attacker.say(&Attacker::hello(PROTOCOL));
    assert_eq!(attacker.answers, [Answer::Goodbye { why: Goodbye::Garbled {} }]);
    let mut attacker = Attacker::new();
    attacker.say(&Attacker::hello(9));
    attacker.say(&Attacker::hello(PROTOCOL));
    assert_eq!(attacker.answers, [Answer::Goodbye { why: Goodbye::Version { spoken: PROTOCOL } }]);
    attacker.tower.commit_all();
    assert!(attacker.tower.disk.borrow().channels.is_empty());
}

#[test]
fn i9_a_client_that_floods_waits_for_the_disk() {
    let mut attacker = Attacker::new();
    attacker.say(&Attacker::hello(PROTOCOL));
    attacker.tower.commit_all();
    attacker.run();
    attacker.say(&Request::New { new: new_channel(1).to_versioned() });
    let mut big = update(1, 1, 1);
    big.record = lightning_traits::monitor::RecordChange::Append { bytes: vec![1; 100_000] };
    for id in 1..200 {
        let next = lightning_traits::monitor::ChannelMonitorUpdate { id: UpdateId(id), ..big.clone() };
        attacker.say(&Request::Update { update: next.to_versioned() });
    }
    let unwritten = attacker.service.served().unwritten;
    assert!(unwritten < 4 * 1024 * 1024 + 2 * WINDOW as usize, "{unwritten}");
    assert!(attacker.link.waiting() > 10_000_000, "the rest waits at the attacker");
    for _ in 0..40 {
        attacker.tower.commit_all();
        attacker.run();
    }
    assert_eq!(attacker.service.served().unwritten, 0);
    assert_eq!(attacker.tower.disk.borrow().channels[&channel(1)].last_update, UpdateId(199));
}

#[test]
fn i9_before_its_hello_a_client_can_say_nothing_long() {
    let attacker = Attacker::new();
    let part = vec![0; FRAME_PAYLOAD];
    for number in 0..100_u32 {
        // More follows, always.
        let frame = [&[1][..], &7_u64.to_be_bytes(), &number.to_be_bytes(), &part].concat();
        attacker.service.on_frame(&frame);
    }
    assert!(!attacker.service.served().is_open);
    let answer = attacker.service.next_frame().unwrap();
    assert!(Frame::read(&answer).unwrap().says_unknown(), "the session was ended");
}
