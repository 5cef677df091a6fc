//! The files of both ends: an identity, and settings that pin the identities of the other end.

use std::fs;
use std::path::Path;

use adapter_tokio::Identity;

use super::Outcome;

/// Makes the files of a server and of each agent in `folder`. Files that are there stay.
pub(crate) fn make(folder: &Path, agents: &[&str]) -> Outcome {
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
    if path.exists() {
        println!("{} stays as it is: see that its pins are right", path.display());
        return Ok(());
    }
    let text = format!("{addresses}\n[tls]\nidentity = \"{name}.pem\"\npins = [\n{pins}]\n");
    Ok(fs::write(path, text)?)
}
