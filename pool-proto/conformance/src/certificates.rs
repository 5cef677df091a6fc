//! A certificate authority, which issues certificates that are valid, expired, or not yet valid.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use pool_driver::tls::Identity;

/// A certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The time at which a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub(super) enum Validity {
    Past,
    Now,
    Future,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    pub(super) fn issue(&self, name: &str, validity: Validity) -> Identity {
        let (certificate, key) = self.issue_parts(name, validity);
        Identity::from_der([certificate], key).unwrap()
    }

    pub(super) fn issue_parts(
        &self,
        name: &str,
        validity: Validity,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        (self.certify(&key, name, validity), key.into())
    }

    fn certify(&self, key: &KeyPair, name: &str, validity: Validity) -> CertificateDer<'static> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        match validity {
            Validity::Past => params.not_after = date_time_ymd(2001, 1, 1),
            Validity::Now => {}
            Validity::Future => params.not_before = date_time_ymd(4000, 1, 1),
        }
        params.signed_by(key, &self.0).unwrap().der().clone()
    }

    /// Two certificates of one key: the second one is a renewal.
    pub(super) fn issue_twice(&self, name: &str) -> [Identity; 2] {
        let key = KeyPair::generate().unwrap();
        [(); 2].map(|()| {
            let certificate = self.certify(&key, name, Validity::Now);
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            Identity::from_der([certificate], key).unwrap()
        })
    }
}
