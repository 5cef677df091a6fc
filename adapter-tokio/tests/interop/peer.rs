//! A running Go program: requests to it and its answers, as JSON lines.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::release::Authority;

/// A running Go program, which is killed when this is dropped.
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
    /// Starts a program to which the authority's root is one of the system's roots.
    pub(crate) fn start(program: &Path, authority: Option<&Authority>) -> Self {
        let mut command = Command::new(program);
        if let Some(authority) = authority {
            command.env("SSL_CERT_FILE", &authority.root_file);
        }
        Self::run(command)
    }

    /// Starts a program that is going to panic, and discards its standard error.
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
                    // Fails if the caller was cancelled.
                    let _ = sender.send(answer);
                }
            }
            // The program has ended: dropping the senders wakes all callers.
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
        // If the program has ended, the receiver reports it.
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

    /// Sends a request, and waits for its answer.
    pub(crate) async fn call(&self, request: Value) -> Result<Value, String> {
        let receiver = self.begin(request);
        Self::finish(receiver.await.ok())
    }

    /// Does the same as [`call`](Self::call), outside a runtime.
    pub(crate) fn call_and_wait(&self, request: Value) -> Result<Value, String> {
        Self::finish(self.begin(request).blocking_recv().ok())
    }

    /// Sends a request that must succeed, and waits for its answer.
    pub(crate) async fn must(&self, request: Value) -> Value {
        let shown = request.to_string();
        self.call(request).await.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Returns whether the program has already exited.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only if the program has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
