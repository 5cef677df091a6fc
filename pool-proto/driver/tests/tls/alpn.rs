//! ALPN: the lists of both ends, and the choice in the facts.

use super::*;

fn server() -> ServerTls {
    ServerTls::new(Identity::self_signed(["localhost"]).unwrap()).unwrap()
}

/// The protocol that both ends have found.
fn chosen(client: &ClientTls, server: &ServerTls) -> Option<Vec<u8>> {
    let outcome = shake(client, server);
    outcome.expect_established();
    let client = TlsFacts::of(&Connection::Client(outcome.client)).alpn;
    assert_eq!(client, TlsFacts::of(&Connection::Server(outcome.server)).alpn);
    client
}

#[test]
fn the_server_prefers_and_both_ends_see_the_choice() {
    let client = ClientTls::self_signed().unwrap().alpn(["one", "two", "three"]).unwrap();
    let server = server().alpn(["four", "three", "two"]).unwrap();
    assert_eq!(chosen(&client, &server).as_deref(), Some(&b"three"[..]));
    // A later call replaces the list.
    let server = server.alpn(["one"]).unwrap();
    assert_eq!(chosen(&client, &server).as_deref(), Some(&b"one"[..]));
}

#[test]
fn an_end_without_a_list_chooses_nothing() {
    let (client, server) = (ClientTls::self_signed().unwrap(), server());
    let (with, without) = (client.clone().alpn(["one"]).unwrap(), server.clone());
    assert_eq!(chosen(&with, &without), None);
    assert_eq!(chosen(&client, &server.alpn(["one"]).unwrap()), None);
    let emptied = with.alpn([""; 0]).unwrap();
    assert!(emptied.config().alpn_protocols.is_empty());
}

#[test]
fn lists_without_a_common_protocol_do_not_agree() {
    let client = ClientTls::self_signed().unwrap().alpn(["one"]).unwrap();
    let outcome = shake(&client, &server().alpn(["two"]).unwrap());
    assert_eq!(*outcome.server_error(), Error::NoApplicationProtocol);
    let alert = AlertDescription::NoApplicationProtocol;
    assert_eq!(*outcome.client_error(), Error::AlertReceived(alert));
}

/// In any order of the calls, and in a custom configuration.
#[test]
fn other_settings_keep_the_list() {
    let (agent, authority) = (Authority::new().issue("agent.example"), Authority::new());
    let listed = server().alpn(["one"]).unwrap();
    let pin = listed.fingerprint().unwrap();
    let client = ClientTls::self_signed().unwrap().alpn(["one"]).unwrap();
    let client = client.pinned(pin).unwrap().client_certificate(agent.clone());
    let pinning = listed.clone().pinned_clients([agent.fingerprint()]).unwrap();
    // The list is also that of settings whose identity was replaced before.
    let renewed = listed.clone().identity(Identity::self_signed(["localhost"]).unwrap());
    let renewed = renewed.pinned_clients([agent.fingerprint()]).unwrap();
    let to_renewed = client.clone().pinned(renewed.fingerprint().unwrap()).unwrap();
    assert_eq!(chosen(&to_renewed, &renewed).as_deref(), Some(&b"one"[..]));
    assert_eq!(client.clone().alpn(["two"]).unwrap().certificate(), Some(agent.fingerprint()));
    let custom = ServerTls::custom(Arc::clone(server().config())).alpn(["one"]).unwrap();
    assert_eq!(chosen(&client, &pinning).as_deref(), Some(&b"one"[..]));
    let anyone = ClientTls::custom(
        Arc::clone(ClientTls::self_signed().unwrap().config()),
        ServerName::try_from("localhost").unwrap(),
    );
    assert_eq!(chosen(&anyone.alpn(["one"]).unwrap(), &custom).as_deref(), Some(&b"one"[..]));
    let known = authority.issue("agent.example");
    let demanding = listed.require_client_certificates(authority.roots()).unwrap();
    let client = client.client_certificate(known);
    assert_eq!(chosen(&client, &demanding).as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_name_of_a_wrong_length_is_an_error() {
    for length in [0, 256] {
        let name = vec![b'x'; length];
        let client = ClientTls::self_signed().unwrap().alpn([name.clone()]).unwrap_err();
        let server = server().alpn([b"one".to_vec(), name]).unwrap_err();
        for error in [client, server] {
            assert_eq!(error, TlsError::Protocol { length });
            assert_says(&error, &["1 to 255 bytes", "ALPN"]);
        }
    }
    server().alpn([vec![b'x'; 255]]).unwrap();
}
