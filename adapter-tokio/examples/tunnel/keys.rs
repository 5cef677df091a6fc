//! The files of both ends: an identity, and settings that pin the identities of the other end.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use adapter_tokio::Identity;

use super::Outcome;

/// Makes the files of a server and of each agent in `folder`. Files that are there stay as they are.
pub(crate) fn make(folder: &Path, agents: &[String]) -> Outcome {
    fs::create_dir_all(folder)?;
    let identity = |name: &str| -> Outcome<String> {
        let identity = Identity::load_or_create(folder.join(format!("{name}.pem")), [name])?;
        println!("{name} {}", identity.fingerprint());
        Ok(format!("    {:?},\n", identity.fingerprint().to_string()))
    };
    let server = identity("server")?;
    let agents_pins = agents.iter().map(|name| identity(name)).collect::<Outcome<String>>()?;
    settings(folder, "server", include_str!("server.toml"), &agents_pins)?;
    agents.iter().try_for_each(|name| settings(folder, name, include_str!("agent.toml"), &server))
}

fn settings(folder: &Path, name: &str, addresses: &str, pins: &str) -> Outcome {
    let path = folder.join(format!("{name}.toml"));
    match File::create_new(&path) {
        Ok(mut file) => {
            write!(file, "{addresses}\n[tls]\nidentity = \"{name}.pem\"\npins = [\n{pins}]\n")?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            println!("{} stays as it is: see that its pins are right", path.display());
        }
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    }
    Ok(())
}
