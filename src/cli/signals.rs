//! The signals of `gema serve`: SIGTERM and SIGINT end it, SIGHUP reads its files again, SIGUSR2 hands over to a successor.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::successor::Successor;
use crate::config::{Config, Sources};
use crate::server::{Ending, Orders};

/// Configurations on their way to the server. A second SIGHUP before the first is carried out waits its turn.
const RELOADS: usize = 1;

/// What listens for the signals.
pub(super) struct Signals {
    stop: Stop,
    hang_up: Signal,
    user: Signal,
}

/// What asks for the end: SIGTERM of who runs the server, SIGINT of whoever sits before it.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Waits until the end is asked for. Cancel safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Signals {
    /// From now on they do not end the process by themselves.
    ///
    /// # Errors
    /// The operating system takes no handler.
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
        })
    }

    /// Turns them into the server's orders, from a task of its own. `sources` is read anew at each SIGHUP.
    pub(super) fn into_orders(self, sources: Sources, successor: Successor) -> Orders {
        let (end, ending) = oneshot::channel();
        let (reload, reloads) = mpsc::channel(RELOADS);
        tokio::spawn(self.carry_on(sources, successor, end, reload));
        Orders { ending, reloads }
    }

    async fn carry_on(
        mut self,
        sources: Sources,
        successor: Successor,
        end: oneshot::Sender<Ending>,
        reload: mpsc::Sender<Config>,
    ) {
        let ending = loop {
            tokio::select! {
                () = self.stop.asked() => break Ending::Stop,
                _ = self.user.recv() => tokio::select! {
                    // Given up in the middle, a successor is killed.
                    listens = successor.start() => if listens {
                        break Ending::HandOver;
                    },
                    () = self.stop.asked() => break Ending::Stop,
                },
                _ = self.hang_up.recv() => match Config::load(&sources) {
                    Ok(config) => {
                        info!("SIGHUP: the certificate and the apps are read again");
                        // The server is gone only when the process is ending.
                        reload.send(config).await.ok();
                    }
                    Err(error) => error!(%error, "SIGHUP: all stays as it is"),
                },
            }
        };
        // It shares the socket, which must refuse once the server has let go of it.
        drop(successor);
        end.send(ending).ok();
        // Who asks twice does not want to wait for the drain. It was not asked for yet if another process took over.
        let patience = match ending {
            Ending::Stop => 1,
            Ending::HandOver => 2,
        };
        for _ in 0..patience {
            self.stop.asked().await;
        }
        std::process::exit(1);
    }
}
