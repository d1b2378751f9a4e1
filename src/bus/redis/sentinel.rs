//! Asks sentinels who the master is.

use redis::Value;

use super::connect::connect;
use super::url::{Access, Address};

/// The master's address, by the first sentinel that knows one.
pub(super) async fn master(
    sentinels: &[Address],
    service: &str,
    access: &Access,
) -> Result<Address, String> {
    let mut last = "there are no sentinels".into();
    for sentinel in sentinels {
        match ask(sentinel, service, access).await {
            Ok(address) => return Ok(address),
            Err(why) => last = why,
        }
    }
    Err(format!("no sentinel knows the master: {last}"))
}

async fn ask(sentinel: &Address, service: &str, access: &Access) -> Result<Address, String> {
    let mut connection = connect(sentinel, access, |_| {}).await?;
    let question = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(service)
        .to_owned();
    match connection.ask(&question).await? {
        Value::Nil => Err(format!("the service '{service}' is unknown")),
        answer => {
            let (host, port) = redis::from_redis_value(answer)
                .map_err(|_| "the answer makes no sense".to_owned())?;
            Ok(Address { host, port })
        }
    }
}
