//! The flags of `bench`.

use clap::Args;

use super::examples;
use super::value::Discreet;
use super::{
    ClientTlsArgs, CompressionArgs, DialArgs, ExecArgs, JoinArgs, NatsArgs, SharedArgs, SshArgs,
    SshPoolArgs, WsArgs,
};

mod load;
mod output;

pub use load::{
    Addresses, Arrival, LoadArgs, MachineArgs, MessageArgs, Progress, ProgressArgs, Rate, Segment,
    Weighted, Workload,
};
pub use output::{BenchCommand, CompareArgs, MergeArgs, OutputArgs, Percent};

/// Measure a server: load by a schedule, latency from when messages were due, a word on whether to believe it
///
/// The target is any address to connect to. By default messages are sent by a schedule that slow
/// answers do not change (an open loop), and times count from when a message was due. The report goes
/// to stdout. It says CLIENT LIMITED, and the exit code is 4, where this machine was the limit.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = examples::text(examples::BENCH))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: Option<BenchCommand>,

    /// The server to measure, as ws://HOST:PORT/PATH
    #[arg(required = true, value_name = "TARGET", value_parser = Discreet::<Weighted>::parser())]
    pub target: Option<Weighted>,

    #[command(flatten)]
    pub load: LoadArgs,

    #[command(flatten)]
    pub messages: MessageArgs,

    #[command(flatten)]
    pub machine: MachineArgs,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub progress: ProgressArgs,

    #[command(flatten)]
    pub reach: ReachArgs,
}

/// Reaching servers, which is as in all verbs
#[derive(Args, Clone, Debug)]
pub struct ReachArgs {
    #[command(flatten)]
    pub dial: DialArgs,

    #[command(flatten)]
    pub ws: WsArgs,

    #[command(flatten)]
    pub tls: ClientTlsArgs,

    #[command(flatten)]
    pub ssh: SshArgs,

    #[command(flatten)]
    pub exec: ExecArgs,

    #[command(flatten)]
    pub compression: CompressionArgs,
}

impl ReachArgs {
    /// With the rest as it is for those that move no data.
    pub fn shared(&self, max_message: usize) -> SharedArgs {
        let Self { dial, ws, tls, ssh, exec, compression: _ } = self.clone();
        let join = JoinArgs {
            frame: None,
            text: false,
            binary: false,
            linger: std::time::Duration::ZERO,
            idle_timeout: None,
            max_message,
        };
        SharedArgs {
            join,
            dial,
            ws,
            tls,
            ssh,
            ssh_pool: SshPoolArgs { connections: 1 },
            nats: NatsArgs::default(),
            exec,
        }
    }
}
