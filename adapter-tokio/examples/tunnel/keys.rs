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
    write(&folder.join("server.toml"), &settings(SERVER, "server", &agents_pins))?;
    for name in agents {
        write(&folder.join(format!("{name}.toml")), &settings(AGENT, name, &server))?;
    }
    Ok(())
}

fn settings(addresses: &str, name: &str, pins: &str) -> String {
    format!("{addresses}\n[tls]\nidentity = \"{name}.pem\"\npins = [\n{pins}]\n")
}

const SERVER: &str = "\
visitors = \"0.0.0.0:8000\"    # where visitors connect
agents = \"0.0.0.0:9000\"      # where agents connect
http = \"127.0.0.1:9100\"      # /status and /metrics

[pool]                       # all settings: the page `files` of pool-proto
capacity = 1024
allow = \"everyone\"           # or the networks of the agents: [\"10.0.0.0/8\"]
";

const AGENT: &str = "\
server = \"127.0.0.1:9000\"    # the server's address for agents
service = \"127.0.0.1:8080\"   # the service that visitors reach
http = \"127.0.0.1:9101\"      # /status and /metrics

[pool]                       # all settings: the page `files` of pool-proto
capacity = \"4..=256\"
";

fn write(path: &Path, text: &str) -> Outcome {
    match File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            println!("{} stays as it is: see that its pins are right", path.display());
        }
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    }
    Ok(())
}
