//! A Go program that runs: requests to it and its answers, as JSON lines.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::release::Authority;

/// Ended when dropped, and its pools with it.
pub(crate) struct Peer {
    child: Child,
    reader: Option<JoinHandle<()>>,
    inner: Mutex<Inner>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
}

struct Inner {
    input: Option<ChildStdin>,
    last: u64,
}

impl Peer {
    /// The Go runtime finds the authority's root as any of the system's.
    pub(crate) fn start(program: &Path, authority: Option<&Authority>) -> Self {
        let mut command = Command::new(program);
        if let Some(authority) = authority {
            command.env("SSL_CERT_FILE", &authority.root_file);
        }
        Self::run(command)
    }

    /// One that is to panic, and whose last words would only alarm.
    pub(crate) fn start_quietly(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.stderr(Stdio::null());
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let waiting = Arc::new(Mutex::new(HashMap::<u64, oneshot::Sender<Value>>::new()));
        let answers = Arc::clone(&waiting);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer: Value = serde_json::from_str(&line).unwrap();
                let number = answer["n"].as_u64().unwrap();
                if let Some(sender) = answers.lock().unwrap().remove(&number) {
                    // Who asked may have given up.
                    let _ = sender.send(answer);
                }
            }
            // It has ended; nobody is answered any more.
            answers.lock().unwrap().clear();
        });
        let inner = Mutex::new(Inner { input, last: 0 });
        Self { child, reader: Some(reader), inner, waiting }
    }

    fn begin(&self, mut request: Value) -> oneshot::Receiver<Value> {
        let mut inner = self.inner.lock().unwrap();
        inner.last += 1;
        request["n"] = json!(inner.last);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(inner.last, sender);
        // Where it has ended, the receiver tells.
        let _ = writeln!(inner.input.as_mut().unwrap(), "{request}");
        receiver
    }

    fn finish(answer: Option<Value>) -> Result<Value, String> {
        let answer = answer.ok_or("the Go program has ended")?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn call(&self, request: Value) -> Result<Value, String> {
        let receiver = self.begin(request);
        Self::finish(receiver.await.ok())
    }

    /// [`call`](Self::call), outside a runtime.
    pub(crate) fn call_and_wait(&self, request: Value) -> Result<Value, String> {
        Self::finish(self.begin(request).blocking_recv().ok())
    }

    /// Asks what must succeed.
    pub(crate) async fn must(&self, request: Value) -> Value {
        let shown = request.to_string();
        self.call(request).await.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Whether it has ended, by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
