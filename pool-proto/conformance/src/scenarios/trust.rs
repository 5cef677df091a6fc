//! Trust: which certificates are accepted, and which versions of TLS.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::TLS12;

use super::{fails, topic};
use crate::certificates::{Authority, Validity};
use crate::ends::{both_ends, client_config, client_tls, each, server_config, server_tls};
use crate::peers::{identity, ping_pong};
use crate::prelude::*;
use pool_driver::tls::{ClientTls, Fingerprint, Identity, ServerTls, TlsMode};

topic! {
    parallel a_certificate_of_an_unknown_issuer_fails_in_verified_mode,
    parallel a_wrong_host_name_fails_in_verified_mode,
    parallel a_certificate_outside_its_validity_fails_in_verified_mode,
    parallel a_certificate_of_a_known_issuer_is_accepted,
    parallel a_certificate_other_than_the_pinned_one_fails,
    parallel any_of_several_pinned_certificates_is_accepted,
    parallel a_known_client_certificate_is_accepted_and_reported,
    parallel a_client_without_a_required_certificate_is_refused,
    parallel a_server_of_tls_1_2_makes_no_connection,
    parallel a_client_of_tls_1_2_makes_no_connection,
    parallel a_custom_rustls_configuration_is_used,
}

/// Checks that this client gets no connection from this server.
fn is_refused(ends: &Ends, client: ClientTls, server: ServerTls) {
    let server = ends.serve_with(Some(server), server_config());
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(client), client_config(), dial);
    fails(&*client, |totals| totals.tls_failures, "TLS handshake failed");
    eventually(|| server.stats(), |stats| stats.totals.tls_failures > 0);
    assert_eq!(server.idle(), 0);
}

/// Checks that this client connects to this server; returns both ends of a connection.
fn is_accepted(
    ends: &Ends,
    client: ClientTls,
    server: ServerTls,
) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let server = ends.serve_with(Some(server), server_config());
    let dial = Dial::Address(server.address().to_string());
    let client = ends.dial_with(Some(client), client_config(), dial);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
    (ours, theirs)
}

fn verified(host: &str, trusted: &Identity) -> ClientTls {
    ClientTls::verified_pem(host, trusted.certificate_pem().as_bytes()).unwrap()
}

fn a_certificate_of_an_unknown_issuer_fails_in_verified_mode(ends: &Ends) {
    let other = Identity::self_signed(["localhost"]).unwrap();
    let server = ServerTls::new(identity()).unwrap();
    is_refused(ends, verified("localhost", &other), server);
}

fn a_wrong_host_name_fails_in_verified_mode(ends: &Ends) {
    let server = ServerTls::new(identity()).unwrap();
    is_refused(ends, verified("elsewhere.example", &identity()), server);
}

fn a_certificate_outside_its_validity_fails_in_verified_mode(ends: &Ends) {
    let authority = Authority::new();
    each(&[Validity::Past, Validity::Future], |validity| {
        let server = ServerTls::new(authority.issue("localhost", *validity)).unwrap();
        let client = ClientTls::verified("localhost", authority.roots()).unwrap();
        is_refused(ends, client, server);
    });
}

fn a_certificate_of_a_known_issuer_is_accepted(ends: &Ends) {
    let authority = Authority::new();
    let issued = authority.issue("tunnel.example", Validity::Now);
    let server = ServerTls::new(issued.clone()).unwrap();
    let client = ClientTls::verified("tunnel.example", authority.roots()).unwrap();
    let (_, theirs) = is_accepted(ends, client, server);
    assert_eq!(theirs.tls().unwrap().peer_certificate, Some(issued.fingerprint()));
}

fn a_certificate_other_than_the_pinned_one_fails(ends: &Ends) {
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    is_refused(ends, client, ServerTls::new(identity()).unwrap());
}

fn any_of_several_pinned_certificates_is_accepted(ends: &Ends) {
    let pins = [Fingerprint::from([7; 32]), identity().fingerprint()];
    let client = ClientTls::self_signed().unwrap().pinned_any(pins).unwrap();
    is_accepted(ends, client, ServerTls::new(identity()).unwrap());
}

fn a_known_client_certificate_is_accepted_and_reported(ends: &Ends) {
    let authority = Authority::new();
    let issued = authority.issue("client.example", Validity::Now);
    let server = server_tls(TlsMode::SelfSigned).unwrap();
    let server = server.require_client_certificates(authority.roots()).unwrap();
    let client = client_tls(TlsMode::Verified).unwrap().client_certificate(issued.clone());
    let (ours, _) = is_accepted(ends, client, server);
    assert_eq!(ours.tls().unwrap().peer_certificate, Some(issued.fingerprint()));
}

fn a_client_without_a_required_certificate_is_refused(ends: &Ends) {
    let unknown = Authority::new().issue("client.example", Validity::Now);
    let without = client_tls(TlsMode::SelfSigned).unwrap();
    let with_another = without.clone().client_certificate(unknown);
    for client in [without, with_another] {
        let server = server_tls(TlsMode::SelfSigned).unwrap();
        let server = server.require_client_certificates(Authority::new().roots()).unwrap();
        is_refused(ends, client, server);
    }
}

/// A server that speaks only TLS 1.2.
fn a_server_of_tls_1_2_makes_no_connection(ends: &Ends) {
    let (certificate, key) = Authority::new().issue_parts("localhost", Validity::Now);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = client_tls(TlsMode::SelfSigned).unwrap();
    is_refused(ends, client, ServerTls::custom(Arc::new(config)));
}

/// A client that speaks only TLS 1.2.
fn a_client_of_tls_1_2_makes_no_connection(ends: &Ends) {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(Authority::new().roots())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientTls::custom(Arc::new(config), name);
    is_refused(ends, client, server_tls(TlsMode::SelfSigned).unwrap());
}

fn a_custom_rustls_configuration_is_used(ends: &Ends) {
    let protocols = vec![b"pool".to_vec()];
    let (client, server) = (client_tls(TlsMode::Verified).unwrap(), server_tls(TlsMode::Verified));
    let mut ours = (**server.unwrap().config()).clone();
    ours.alpn_protocols.clone_from(&protocols);
    let mut theirs = (**client.config()).clone();
    theirs.alpn_protocols = protocols;
    let client = ClientTls::custom(Arc::new(theirs), client.server_name().clone());
    let (ours, theirs) = is_accepted(ends, client, ServerTls::custom(Arc::new(ours)));
    for stream in [ours, theirs] {
        assert_eq!(stream.tls().unwrap().alpn.as_deref(), Some(&b"pool"[..]));
    }
}
