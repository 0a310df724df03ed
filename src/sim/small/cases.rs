//! The cases: each kind of call, while requests come, go and leave.

use std::time::Duration;

use super::super::calls::{Call, Drain};
use super::super::host::Event;
use super::super::request::{Arriving, Body};
use super::super::run::LONG;
use crate::gate::canary::Outcome;
use crate::gate::policy::Policy;

/// An event, and to which worker it comes.
pub type Sent = (usize, Event);

/// What happens one after the other, and then all at once.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub kind: &'static str,
    pub before: Vec<Sent>,
    pub then: Vec<Sent>,
    /// The backend is down from then on.
    pub outage: bool,
}

fn arrives(id: u64, change: impl FnOnce(&mut Arriving)) -> Event {
    let mut arriving = Arriving {
        id,
        app: 0,
        bypasses: false,
        max_held: 0,
        max_time: LONG,
        passes: true,
        body: Body::None,
        interval: Duration::from_millis(250),
    };
    change(&mut arriving);
    Event::Arrival(arriving)
}

fn arrival(id: u64) -> Event {
    arrives(id, |_| {})
}

fn ends(id: u64) -> Event {
    Event::Response(id, Outcome::Good)
}

fn fails(id: u64) -> Event {
    Event::Response(id, Outcome::Failed(502))
}

fn enable(lasts: Option<Duration>, drain: Option<Duration>) -> Event {
    let drain = drain.map(|limit| Drain { limit, keep: limit == LONG, settle: None });
    Event::Call(Call::Enable { app: 0, lasts, drain, policy: Policy::default() })
}

fn disable(policy: Policy, canary: u32) -> Event {
    Event::Call(Call::Disable { app: 0, policy, canary })
}

fn calls() -> Vec<(&'static str, Event)> {
    let moment = Some(Duration::from_millis(1));
    vec![
        ("a pause", enable(None, None)),
        ("a pause for a moment", enable(moment, None)),
        ("a drain", enable(None, Some(LONG))),
        ("a drain for a moment", enable(None, moment)),
        ("a resume", disable(Policy::default(), 0)),
        ("a resume at a pace", disable(Policy { rate: 1000, burst: 1, ..Policy::default() }, 0)),
        ("a resume one by one", disable(Policy { concurrency: 1, ..Policy::default() }, 0)),
        ("a canary", disable(Policy::default(), 1)),
        ("maintenance", Event::Call(Call::Maintenance { app: 0 })),
        ("a status", Event::Call(Call::Status(0))),
    ]
}

/// How an app stands, and what happens to its requests from then on.
struct Start {
    name: &'static str,
    before: Vec<Sent>,
    meanwhile: Vec<(&'static str, Vec<Sent>)>,
}

fn starts() -> [Start; 3] {
    let open = Start {
        name: "open",
        before: known(),
        meanwhile: vec![("one comes to each", vec![(0, arrival(1)), (1, arrival(2))])],
    };
    let paused = [known(), vec![(0, enable(None, None))]].concat();
    let one = Start {
        name: "one is held",
        before: [&paused[..], &[(0, arrival(1))]].concat(),
        meanwhile: vec![("one comes to the other", vec![(1, arrival(2))])],
    };
    let two = Start {
        name: "two are held",
        before: [&paused[..], &[(0, arrival(1)), (1, arrival(2))]].concat(),
        meanwhile: vec![
            ("one leaves", vec![(1, Event::ClientGone(2))]),
            ("the other's leaves", vec![(0, Event::ClientGone(1))]),
        ],
    };
    [open, one, two]
}

/// Both workers have let a request through, and know the app.
fn known() -> Vec<Sent> {
    vec![(0, arrival(101)), (0, ends(101)), (1, arrival(102)), (1, ends(102))]
}

pub fn cases() -> Vec<Case> {
    [single_calls(), others(), outages()].concat()
}

/// A request comes while its app is paused.
pub fn smallest() -> Case {
    Case {
        name: "the smallest".to_owned(),
        kind: "a pause",
        before: known(),
        then: vec![(0, arrival(1)), (1, enable(None, None))],
        outage: false,
    }
}

/// One call, and two requests.
fn single_calls() -> Vec<Case> {
    let mut cases = Vec::new();
    for start in starts() {
        for (kind, call) in calls() {
            for (what, events) in &start.meanwhile {
                cases.push(Case {
                    name: format!("{}, {kind}, {what}", start.name),
                    kind,
                    before: start.before.clone(),
                    then: [&events[..], &[(1, call.clone())]].concat(),
                    outage: false,
                });
            }
        }
    }
    cases
}

fn others() -> Vec<Case> {
    let resume = disable(Policy::default(), 0);
    let one_by_one = disable(Policy { concurrency: 1, ..Policy::default() }, 0);
    let canary = disable(Policy::default(), 1);
    let pause = enable(None, None);
    let held = [(0, pause.clone()), (0, arrival(1)), (1, arrival(2))];
    let uploads = arrives(1, |it| it.body = Body::Late);
    let uploading = vec![(0, pause.clone()), (0, uploads), (1, arrival(2)), (0, resume.clone())];
    let hurried = arrives(2, |it| it.max_time = Duration::from_millis(1));
    let full = arrives(2, |it| it.max_held = 1);
    let bypasses = arrives(2, |it| it.bypasses = true);
    let after = |call: &Event| [&held[..], &[(0, call.clone())]].concat();
    let case = |name: &str, before: &[Sent], then: &[Sent]| Case {
        name: name.to_owned(),
        kind: "others",
        before: [&known()[..], before].concat(),
        then: then.to_vec(),
        outage: false,
    };
    let drain = enable(None, Some(LONG));
    // Two wait for their bodies, two are on their way, and the fifth goes when one of those ends.
    let two = disable(Policy { concurrency: 2, ..Policy::default() }, 0);
    let late = |id| arrives(id, |it| it.body = Body::Late);
    let batch = [(1, pause.clone()), (1, late(1)), (0, late(2))];
    let batch = [&batch[..], &[3, 4, 5].map(|id| (1, arrival(id))), &[(1, two)]].concat();
    let behind_it = [(1, ends(3)), (1, ends(4)), (1, Event::Body(1)), (0, Event::Body(2))];
    vec![
        case("a drain, and its last", &[(0, arrival(1))], &[(0, ends(1)), (1, drain.clone())]),
        case(
            "a drain, and two end",
            &[(0, arrival(1)), (1, arrival(2))],
            &[(0, ends(1)), (1, drain), (1, ends(2))],
        ),
        case("a body comes", &uploading, &[(0, Event::Body(1)), (1, pause.clone())]),
        case(
            "a body comes to a resume",
            &uploading[..3],
            &[(1, resume.clone()), (0, Event::Body(1))],
        ),
        case("bodies come while a batch goes", &batch, &behind_it),
        case("a canary is over", &after(&canary), &[(0, ends(1)), (1, arrival(3))]),
        case("a canary fails", &after(&canary), &[(0, fails(1)), (1, resume.clone())]),
        case("one by one", &after(&one_by_one), &[(0, ends(1)), (1, arrival(3))]),
        case("a time is up", &held[..2], &[(1, hurried), (0, resume.clone())]),
        case("no room", &held[..1], &[(0, full.clone()), (1, full_of(full, 3))]),
        case("a bypass", &held[..2], &[(1, bypasses), (0, resume)]),
    ]
}

fn full_of(event: Event, id: u64) -> Event {
    match event {
        Event::Arrival(arriving) => Event::Arrival(Arriving { id, ..arriving }),
        other => other,
    }
}

/// The backend is down.
fn outages() -> Vec<Case> {
    let case = |name: &str, then: Vec<Sent>| Case {
        name: name.to_owned(),
        kind: "an outage",
        before: known(),
        then,
        outage: true,
    };
    vec![
        case(
            "one finds no backend",
            vec![(0, arrival(1)), (0, Event::Connect(1)), (1, arrival(2))],
        ),
        case(
            "a pause of one",
            vec![(0, arrival(1)), (0, Event::Connect(1)), (1, enable(None, None))],
        ),
    ]
}
