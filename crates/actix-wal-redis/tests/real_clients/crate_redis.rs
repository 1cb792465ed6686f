//! The crate `redis`, with and without tokio, in RESP2 and RESP3.

use redis::{AsyncTypedCommands, Client, Connection, ErrorKind, RedisResult, Value};

use crate::server;

fn client(port: u16, protocol: &str) -> Client {
    Client::open(format!("redis://127.0.0.1:{port}/0?protocol={protocol}")).unwrap()
}

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, line: &str) -> RedisResult<T> {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query(connection)
}

#[test]
fn the_crate_redis_does_strings_pipelines_and_transactions_in_both_protocols() {
    let (_folder, server) = server(&[]);
    for protocol in ["resp2", "resp3"] {
        let mut connection = client(server.port, protocol).get_connection().unwrap();
        let c = &mut connection;
        assert_eq!(ask(c, "FLUSHALL"), Ok(Value::Okay));
        assert_eq!(ask(c, "SET a 1"), Ok(Value::Okay));
        assert_eq!(ask(c, "INCRBY a 41"), Ok(42));
        assert_eq!(ask(c, "GET nothing"), Ok(None::<String>));
        assert_eq!(ask(c, "MGET a nothing"), Ok((42, None::<String>)));
        let error = ask::<()>(c, "NOSUCH l 1").unwrap_err();
        assert!(error.to_string().contains("unknown command 'NOSUCH'"), "{error}");

        let mut pipeline = redis::pipe();
        for at in 0..500 {
            pipeline.cmd("SET").arg(at).arg(at * at).ignore();
        }
        for at in 0..500 {
            pipeline.cmd("GET").arg(at);
        }
        let squares: Vec<u32> = pipeline.query(c).unwrap();
        assert!(squares.iter().zip(0..).all(|(square, at)| *square == at * at));

        let mut transaction = redis::pipe();
        transaction.atomic().cmd("INCR").arg("n").cmd("APPEND").arg("n").arg("0");
        assert_eq!(transaction.cmd("GET").arg("n").query(c), Ok((1, 2, 10)));
        // One error of a command undoes nothing of the others.
        let mut transaction = redis::pipe();
        transaction.atomic().cmd("SET").arg("t").arg("x").cmd("INCR").arg("t").cmd("INCR").arg("n");
        assert!(transaction.query::<Value>(c).is_err());
        assert_eq!(ask(c, "MGET t n"), Ok(("x".to_owned(), 11)));
        // A command that Redis does not take makes the whole transaction fail.
        let mut transaction = redis::pipe();
        transaction.atomic().cmd("INCR").arg("n").cmd("NOSUCH");
        let error = transaction.query::<Value>(c).unwrap_err();
        let is_refused = error.kind() == ErrorKind::Server(redis::ServerErrorKind::ExecAbort)
            || error.to_string().contains("unknown command");
        assert!(is_refused, "{error:?}");
        assert_eq!(ask(c, "GET n"), Ok(11));
    }
}

#[test]
fn watched_transactions_of_the_crate_redis_lose_no_update() {
    let (_folder, server) = server(&[]);
    let (port, clients, times) = (server.port, 4, 25);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(move || {
                let mut connection = client(port, "resp3").get_connection().unwrap();
                for _ in 0..times {
                    add_one(&mut connection);
                }
            });
        }
    });
    let mut connection = client(server.port, "resp2").get_connection().unwrap();
    assert_eq!(ask(&mut connection, "GET watched"), Ok(clients * times));
}

/// As the documentation of the crate does it.
fn add_one(connection: &mut Connection) {
    let added: RedisResult<(u32,)> = redis::transaction(connection, &["watched"], |c, pipeline| {
        let now: Option<u32> = ask(c, "GET watched")?;
        pipeline.cmd("SET").arg("watched").arg(now.unwrap_or(0) + 1).ignore();
        pipeline.cmd("GET").arg("watched").query(c)
    });
    added.unwrap();
}

#[test]
fn many_tasks_share_one_connection_of_the_crate_redis() {
    let (_folder, server) = server(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for protocol in ["resp2", "resp3"] {
            let connection = client(server.port, protocol).get_multiplexed_async_connection().await;
            let connection = connection.unwrap();
            let tasks: Vec<_> = (0..50)
                .map(|task| {
                    let mut connection = connection.clone();
                    tokio::spawn(async move {
                        for round in 0..20 {
                            let key = format!("{task}:{round}");
                            connection.set(&key, round).await.unwrap();
                            let now = connection.get(&key).await.unwrap();
                            assert_eq!(now, Some(round.to_string()));
                            connection.incr("all", 1).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let mut connection = connection;
            assert_eq!(connection.get("all").await.unwrap(), Some("1000".to_owned()));
            connection.del("all").await.unwrap();
        }
    });
}
