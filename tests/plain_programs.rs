//! Guards P1 and P6 in programs without actix: the examples for plain threads and for a tokio server run, each twice,
//! so that the second finds what the first has left.

#[path = "../examples/plain_threads.rs"]
mod plain_threads;
#[path = "../examples/plain_tokio.rs"]
mod plain_tokio;

#[test]
fn p1_the_example_with_plain_threads_counts_what_its_log_holds() {
    for _ in 0..2 {
        plain_threads::main().expect("it checks itself");
    }
}

#[test]
fn p1_the_example_of_a_tokio_server_answers_what_is_durable() {
    for _ in 0..2 {
        plain_tokio::main().expect("it checks itself");
    }
}
