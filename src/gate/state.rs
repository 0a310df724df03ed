//! The states of a gate, and why it changes from one to the next.

/// What an app's gate does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// They go through.
    #[default]
    Open = 0,
    /// They are held.
    Paused = 1,
    /// The held ones are let go in order; what arrives goes to the end of the queue.
    Releasing = 2,
    /// They are answered 503.
    Maintenance = 3,
    /// They are held, as the backend was found to be down, until it is found to be back.
    Down = 4,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Releasing => "releasing",
            Self::Maintenance => "maintenance",
            Self::Down => "down",
        }
    }

    /// Whether what is held stays held until the state changes.
    pub fn rests(self) -> bool {
        matches!(self, Self::Paused | Self::Down)
    }

    pub fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Paused,
            2 => Self::Releasing,
            3 => Self::Maintenance,
            4 => Self::Down,
            _ => Self::Open,
        }
    }
}

/// Why a gate's state changed, or the manner of its release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Call,
    Deadline,
    /// Nobody is held any more: the release is over.
    Released,
    /// The release took too long: the rest goes at once.
    ReleaseTimeout,
    CanaryPassed,
    CanaryFailed,
    /// Another nginx wrote it into the state file.
    StateFile,
    /// A request could not be sent to the backend.
    Refused,
    /// The backend may be back: the first of those who are held is to show that.
    Probed,
    /// It has reached the backend.
    Reached,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Deadline => "deadline",
            Self::Released => "the last release",
            Self::ReleaseTimeout => "release timeout",
            Self::CanaryPassed => "a canary that came back",
            Self::CanaryFailed => "a canary that failed",
            Self::StateFile => "the state file",
            Self::Refused => "a backend that is down",
            Self::Probed => "a backend that may be back",
            Self::Reached => "a backend that is back",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub from: State,
    pub to: State,
    pub cause: Cause,
}
