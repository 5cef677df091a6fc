//! The control channel: a plain TCP connection that carries lines in both directions. It belongs to
//! the user of the pools; the pools do not know of it.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::Failure;
use crate::tasks::Tasks;

/// The sending side of one end of the control channel.
#[derive(Clone)]
pub(crate) struct Control(mpsc::UnboundedSender<String>);

impl Control {
    /// Queues one line.
    pub(crate) fn send(&self, line: &str) {
        // Fails only after the channel has ended, and then the tunnel is shutting down.
        let _ = self.0.send(format!("{}\n", line.replace('\n', " ")));
    }
}

/// Runs one end over `stream`. `on_line` receives every line of the other end, and can answer.
pub(crate) fn run(
    tasks: &Tasks,
    stream: TcpStream,
    on_line: impl Fn(&Control, &str) + Send + 'static,
) -> Result<Control, Failure> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let (sender, mut queue) = mpsc::unbounded_channel::<String>();
    tasks.service(async move {
        while let Some(mut lines) = queue.recv().await {
            while let Ok(more) = queue.try_recv() {
                lines.push_str(&more);
            }
            if writer.write_all(lines.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let control = Control(sender);
    let answers = control.clone();
    tasks.service(async move {
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            on_line(&answers, &line);
        }
    });
    Ok(control)
}
