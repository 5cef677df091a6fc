//! Tapes of the demo's pools, where `--record` wants them.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use adapter_tokio::{ClientPoolBuilder, ServerPoolBuilder};

/// The folder of the tapes, set at most once, before the first pool.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Has the pools that are built from now on recorded into files in a folder.
pub(crate) fn keep_in(folder: PathBuf) -> io::Result<()> {
    fs::create_dir_all(&folder)?;
    FOLDER.set(folder).map_err(|_| io::Error::other("the folder of the tapes is set already"))
}

pub(crate) fn of_server(server: ServerPoolBuilder) -> ServerPoolBuilder {
    if FOLDER.get().is_none() { server } else { server.record(|| create("server")) }
}

pub(crate) fn of_client(client: ClientPoolBuilder) -> ClientPoolBuilder {
    if FOLDER.get().is_none() { client } else { client.record(|| create("client")) }
}

/// Creates the file of the next tape: they are numbered in the order of the pools.
fn create(role: &str) -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let folder = FOLDER.get().ok_or(io::ErrorKind::NotFound)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    File::create(folder.join(format!("{number:02}-{role}.tape")))
}
