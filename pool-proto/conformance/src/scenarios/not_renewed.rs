//! TLS settings that are not replaced: the new ones cannot be loaded, or the pool refuses them. The old ones
//! stay in force.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::renewal::{assert_no_failure, fresh, pair, pinning, presented, renewed, serving};
use super::topic;
use crate::ends::{both_ends, server_tls};
use crate::facade::{ClientSetup, Listen, ServerSetup, Tls};
use crate::peers::{identity, ping_pong};
use crate::prelude::*;
use pool_driver::SetTlsError;
use pool_driver::tls::{ClientTls, Identity, ServerTls, TlsMode};

topic! {
    parallel files_that_cannot_be_loaded_leave_the_former_settings_in_force,
    parallel settings_without_authentication_are_refused_where_it_is_required,
    parallel a_pool_on_plain_tcp_stays_on_it,
}

/// As a user writes it who renews certificates on a signal.
fn reload(pool: &Arc<dyn Pool>, chain: &Path, key: &Path) -> Result<(), Box<dyn Error>> {
    let identity = Identity::from_files(chain, key)?;
    Ok(pool.set_tls(Tls::Server(ServerTls::new(identity)?))?)
}

fn files_that_cannot_be_loaded_leave_the_former_settings_in_force(ends: &Ends) {
    let directory = Scratch::new();
    let [chain, key] = ["fullchain.pem", "privkey.pem"].map(|name| directory.0.join(name));
    let [old, new] = [(); 2].map(|()| Identity::generate_pem(["localhost"]).unwrap());
    let identities = [&old, &new].map(|pem| pem.identity().unwrap());
    let [before, after] = identities.each_ref().map(Identity::fingerprint);
    old.save(&key).unwrap();
    fs::write(&chain, identities[0].certificate_pem()).unwrap();
    let first = ServerTls::new(Identity::from_files(&chain, &key).unwrap()).unwrap();
    let (server, client) = pair(ends, first, pinning([before, after]));

    // The first of the two files is new, then damaged, then gone.
    let half = &identities[1].certificate_pem();
    for (content, says) in [
        (Some(&**half), "does not belong to the certificate"),
        (
            Some(&half[..half.len() / 2]),
            "line 1: a section has a BEGIN line and no matching END line",
        ),
        (None, "cannot read"),
    ] {
        match content {
            Some(content) => fs::write(&chain, content).unwrap(),
            None => fs::remove_file(&chain).unwrap(),
        }
        let error = reload(&server, &chain, &key).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(".pem"), "{error}");
        client.clean();
        assert_eq!(presented(&*client.take()), Some(before));
    }
    new.save(&key).unwrap();
    fs::write(&chain, half).unwrap();
    reload(&server, &chain, &key).unwrap();
    renewed(&client, after);
    assert_no_failure(&client);
}

/// A directory of its own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("pool-renewal-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings_without_authentication_are_refused_where_it_is_required(ends: &Ends) {
    let agent = fresh("agent.example");
    let demand = Demand::Authentication;
    let (config, keep_alive, tape) = (None, None, None);
    let listen = Listen::Address("127.0.0.1:0".to_owned());
    let admitting =
        |known: &Identity| serving(&identity()).pinned_clients([known.fingerprint()]).unwrap();
    let tls = Some(admitting(&agent));
    let server = ends.server.server(ServerSetup { config, tls, keep_alive, demand, listen, tape });
    let server = server.unwrap();
    let tls = Some(pinning([identity().fingerprint()]).client_certificate(agent.clone()));
    let dial = Dial::Address(server.address().to_string());
    let (config, tape) = (None, None);
    let client = ends.client.client(ClientSetup { config, tls, keep_alive, demand, dial, tape });
    let client = client.unwrap();

    let custom = ServerTls::custom(Arc::clone(admitting(&agent).config()));
    for tls in [serving(&fresh("new.example")), custom.clone()] {
        let error = server.set_tls(Tls::Server(tls)).unwrap_err();
        assert!(matches!(error, SetTlsError::AuthenticationRequired { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the former ones stay") && text.contains("pinned_clients"), "{text}");
    }
    let error = client.set_tls(Tls::Client(ClientTls::self_signed().unwrap())).unwrap_err();
    assert!(matches!(error, SetTlsError::AuthenticationRequired { .. }), "{error:?}");
    assert!(error.to_string().contains("pinned(fingerprint)"), "{error}");

    // The settings in force are those of the build.
    server.flush();
    let (ours, theirs) = both_ends(&server, &client);
    assert_eq!(presented(&*ours), Some(agent.fingerprint()));
    assert_eq!(presented(&*theirs), Some(identity().fingerprint()));
    server.set_tls(Tls::Server(custom.assume_authenticated().unwrap())).unwrap();
}

fn a_pool_on_plain_tcp_stays_on_it(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let tls = Tls::Server(server_tls(TlsMode::SelfSigned).unwrap());
    for error in [
        server.set_tls(tls).unwrap_err(),
        client.set_tls(Tls::Client(ClientTls::self_signed().unwrap())).unwrap_err(),
    ] {
        assert_eq!(error, SetTlsError::PlainTcp);
        assert!(error.to_string().contains("build another pool with tls(…)"), "{error}");
    }
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
    assert!(ours.tls().is_none());
}
