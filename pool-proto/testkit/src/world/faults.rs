//! Everything that can go wrong, by name.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // On the way.
    Delay,
    Loss,
    Reorder,
    Trickle,
    Coalesce,
    PartitionToServer,
    PartitionToClient,
    Partition,
    Reset,
    HalfOpen,
    // While connecting.
    DialRefused,
    DialLost,
    SlowHandshake,
    EndlessHandshake,
    BrokenHandshake,
    CloseAfterHandshake,
    // The peer.
    DuplicateId,
    ForeignId,
    BrokenId,
    ServerCrash,
    ClientCrash,
    ListenerLost,
    Strangers,
    // The host.
    ClockForward,
    ClockBackward,
    LateTimer,
    LateCheck,
    LateReadable,
    LateCollect,
    KnownDead,
    // The user.
    Flush,
    Clean,
    Close,
    GracefulShutdown,
    GiveUp,
    SloppyUse,
    StaleEvent,
    EarlyReadable,
    // Last, and not drawn, so that old seeds keep their meaning.
    Configure,
}

impl Fault {
    pub const ALL: [Self; 39] = [
        Self::Delay,
        Self::Loss,
        Self::Reorder,
        Self::Trickle,
        Self::Coalesce,
        Self::PartitionToServer,
        Self::PartitionToClient,
        Self::Partition,
        Self::Reset,
        Self::HalfOpen,
        Self::DialRefused,
        Self::DialLost,
        Self::SlowHandshake,
        Self::EndlessHandshake,
        Self::BrokenHandshake,
        Self::CloseAfterHandshake,
        Self::DuplicateId,
        Self::ForeignId,
        Self::BrokenId,
        Self::ServerCrash,
        Self::ClientCrash,
        Self::ListenerLost,
        Self::Strangers,
        Self::ClockForward,
        Self::ClockBackward,
        Self::LateTimer,
        Self::LateCheck,
        Self::LateReadable,
        Self::LateCollect,
        Self::KnownDead,
        Self::Flush,
        Self::Clean,
        Self::Close,
        Self::GracefulShutdown,
        Self::GiveUp,
        Self::SloppyUse,
        Self::StaleEvent,
        Self::EarlyReadable,
        Self::Configure,
    ];

    /// Whether it comes at some time, rather than on some occasion.
    pub const fn is_timed(self) -> bool {
        matches!(
            self,
            Self::PartitionToServer
                | Self::PartitionToClient
                | Self::Partition
                | Self::Reset
                | Self::HalfOpen
                | Self::ServerCrash
                | Self::ClientCrash
                | Self::ListenerLost
                | Self::Strangers
                | Self::ClockForward
                | Self::ClockBackward
                | Self::Flush
                | Self::Clean
                | Self::Close
                | Self::GracefulShutdown
                | Self::StaleEvent
                | Self::KnownDead
                | Self::Configure
        )
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Loss => "loss and retransmission",
            Self::Reorder => "reordering across connections",
            Self::Trickle => "trickled bytes",
            Self::Coalesce => "id and data in one read",
            Self::PartitionToServer => "partition towards the server",
            Self::PartitionToClient => "partition towards the client",
            Self::Partition => "partition both ways",
            Self::Reset => "reset",
            Self::HalfOpen => "half-open connection",
            Self::DialRefused => "dial refused",
            Self::DialLost => "dial lost",
            Self::SlowHandshake => "slow handshake",
            Self::EndlessHandshake => "never-ending handshake",
            Self::BrokenHandshake => "handshake failed",
            Self::CloseAfterHandshake => "closed at once by the server",
            Self::DuplicateId => "duplicate id",
            Self::ForeignId => "foreign id",
            Self::BrokenId => "broken id",
            Self::ServerCrash => "server crash and restart",
            Self::ClientCrash => "client crash and restart",
            Self::ListenerLost => "listener lost",
            Self::Strangers => "strangers at the door",
            Self::ClockForward => "clock jumped forward",
            Self::ClockBackward => "clock jumped backward",
            Self::LateTimer => "late timer",
            Self::LateCheck => "late check",
            Self::LateReadable => "late news of an arrival",
            Self::LateCollect => "late collect",
            Self::KnownDead => "dead before any look",
            Self::Flush => "flush",
            Self::Clean => "clean",
            Self::Close => "close and reopening",
            Self::GracefulShutdown => "graceful shutdown and reopening",
            Self::GiveUp => "user gave up",
            Self::SloppyUse => "put back with data unread",
            Self::StaleEvent => "stale event",
            Self::Configure => "new configuration",
            Self::EarlyReadable => "readable before established",
        }
    }
}
