//! The control channel: one plain TCP connection that carries lines both ways. It belongs to the
//! user of the pools; the pools know nothing of it.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::Failure;
use crate::tasks::Tasks;

/// Where lines are handed in.
#[derive(Clone)]
pub(crate) struct Line(mpsc::UnboundedSender<String>);

impl Line {
    /// Queues one line.
    pub(crate) fn tell(&self, line: &str) {
        // It fails only after the channel has ended, and with it everything else.
        let _ = self.0.send(format!("{}\n", line.replace('\n', " ")));
    }
}

/// Runs one end over `stream`; `hear` is given every line of the other end, and can answer.
pub(crate) fn run(
    tasks: &Tasks,
    stream: TcpStream,
    hear: impl Fn(&Line, &str) + Send + 'static,
) -> Result<Line, Failure> {
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
    let line = Line(sender);
    let answer = line.clone();
    tasks.service(async move {
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            hear(&answer, &line);
        }
    });
    Ok(line)
}
