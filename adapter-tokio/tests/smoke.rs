//! smoke
use adapter_tokio::pool_proto::tls::{ClientTls, ServerTls};
use adapter_tokio::{ClientPool, ServerPool};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn smoke() {
    for tls in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut s = ServerPool::builder();
        let mut c = ClientPool::builder();
        if tls {
            s = s.tls(ServerTls::self_signed().unwrap());
            c = c.tls(ClientTls::self_signed().unwrap());
        }
        let server = s.listen(listener).unwrap();
        let client = c.connect(addr.to_string()).unwrap();
        let t = Duration::from_secs(5);
        client.wait_ready(4, t).await.unwrap();
        server.wait_ready(4, t).await.unwrap();
        for round in 0..200 {
            let mut a = server.acquire(t).await.unwrap();
            a.write_all(b"early").await.unwrap();
            a.flush().await.unwrap();
            let mut b = client.acquire_by_id(a.id(), t).await.unwrap();
            let mut buf = [0; 5];
            b.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"early");
            b.write_all(b"reply").await.unwrap();
            b.flush().await.unwrap();
            a.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"reply");
            if round % 2 == 0 {
                client.put(b).unwrap();
                server.put(a).unwrap();
            }
        }
        println!("{:#?}\n{:#?}", client.stats(), server.stats());
        assert_eq!(client.flush() > 0, true);
        server.close();
        server.closed().await;
        client.close();
        client.closed().await;
        assert_eq!(client.stats().leased + client.stats().idle, 0);
    }
}
