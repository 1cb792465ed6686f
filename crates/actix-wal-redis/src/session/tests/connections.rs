//! Names, passwords, protocols and answers. The answers are those of a Redis 7.0.15.

use super::*;

const NO_DEBUG: &str = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
    from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
const NO_AUTH: &str = "-NOAUTH Authentication required.";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const INTEGER: &str = "-ERR value is not an integer or out of range";
const NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.";
const HELLO_2: &str = "*14 $6 server $5 redis $7 version $6 7.0.15 $5 proto :2 $2 id :1 $4 mode $10 standalone $4 role $6 \
                       master $7 modules *0";
const HELLO_3: &str = "%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 \
                       master $7 modules *0";

/// What one client says about itself.
pub(super) const SELF: &[(&str, &str)] = &[
    ("PING", "+PONG"),
    ("ping a", "$1 a"),
    ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
    ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
    ("ECHO hi", "$2 hi"),
    ("HELLO", HELLO_2),
    ("HELLO 4", "-NOPROTO unsupported protocol version"),
    ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
    ("HELLO 3 SETNAME foo", HELLO_3),
    ("CLIENT GETNAME", "$3 foo"),
    ("CLIENT SETNAME ''", "+OK"),
    ("CLIENT GETNAME", "_"),
    ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
    ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
    ("HELLO 3 FOO BAR", "-ERR Syntax error in HELLO option 'FOO'"),
    ("HELLO 3 AUTH default x", HELLO_3),
    ("HELLO 2 SETNAME \"a b\"", NAME),
    ("GET a", "_"),
    ("HELLO 2", HELLO_2),
    ("GET a", "$-1"),
    (
        "AUTH x",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
    ),
    ("AUTH default x", "+OK"),
    ("AUTH foo x", WRONG),
    ("AUTH a b c", "-ERR syntax error"),
    ("SELECT 16", "-ERR DB index is out of range"),
    ("SELECT -1", "-ERR DB index is out of range"),
    ("SELECT a", INTEGER),
    ("SELECT 99999999999999999999", INTEGER),
    (
        "SELECT 3000000000",
        "-ERR value is out of range, value must between -2147483648 and 2147483647",
    ),
    ("SELECT 15", "+OK"),
    ("CLIENT ID", ":1"),
    ("CLIENT ID 3", "-ERR wrong number of arguments for 'client|id' command"),
    ("CLIENT SETNAME \"a b\"", NAME),
    ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
    ("CLIENT NO-EVICT ON", "+OK"),
    ("CLIENT NO-EVICT x", "-ERR syntax error"),
    ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
    ("CLIENT LIST TYPE pubsub", "$0"),
    ("CLIENT LIST ID", "-ERR syntax error"),
    ("CLIENT LIST ID a", "-ERR Invalid client ID"),
    ("RESET a", "-ERR wrong number of arguments for 'reset' command"),
    ("RESET", "+RESET"),
    ("DEBUG SLEEP 0", NO_DEBUG),
    ("DEBUG", "-ERR wrong number of arguments for 'debug' command"),
    ("FUNCTION FLUSH ASYNC", "+OK"),
    ("FUNCTION FLUSH FOO", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
    ("QUIT a", "+OK<end>"),
];

#[actix::test]
async fn what_a_client_says_about_itself_is_answered_as_by_redis() {
    let mut world = World::begin().await;
    world.client().talk(&world, SELF).await;
    // A later version of Redis knows this one, and there are no functions here.
    let lines = [
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("CLIENT SETINFO LIB-FOO lib", "-ERR Unrecognized option 'LIB-FOO'"),
        (
            "CLIENT SETINFO LIB-VER \"1 2\"",
            "-ERR lib-ver cannot contain spaces, newlines or special characters.",
        ),
        ("FUNCTION LIST", "-ERR unknown subcommand 'LIST'. Try FUNCTION HELP."),
    ];
    world.client().talk(&world, &lines).await;
    world.end().await;
}

#[actix::test]
async fn an_unknown_command_is_repeated_up_to_a_bound_byte_for_byte() {
    let mut world = World::begin().await;
    let (long, args) = ("x".repeat(200), "a".repeat(126));
    let line = format!("{long} {args} bbbbbb ccc");
    let expected =
        format!("-ERR unknown command '{}', with args beginning with: '{args}'", "x".repeat(128));
    let lines = [
        (line.as_str(), expected.as_str()),
        (
            "\"a\\x00b\" \"\\xff\\xfe\" \"x\\x00y\" \"q\\r\\nr\"",
            "-ERR unknown command 'a', with args beginning with: '\\xff\\xfe' 'x' 'q  r'",
        ),
        ("CLIENT \"x\\r\\ny\\xff\"", "-ERR unknown subcommand 'x  y\\xff'. Try CLIENT HELP."),
        ("foo", "-ERR unknown command 'foo', with args beginning with:"),
    ];
    world.client().talk(&world, &lines).await;
    world.end().await;
}

const HELLO_FIRST: &str = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
                 option can be used to authenticate the client and select the RESP protocol version at the same time";

/// What a client says that has to give the password `sec`.
pub(super) const STRANGER: &[(&str, &str)] = &[
    ("PING", NO_AUTH),
    ("FOO", "-ERR unknown command 'FOO', with args beginning with:"),
    ("GET", "-ERR wrong number of arguments for 'get' command"),
    ("GET a", NO_AUTH),
    ("INFO", NO_AUTH),
    ("MULTI", NO_AUTH),
    ("EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."),
    ("HELLO", HELLO_FIRST),
    ("HELLO 3", HELLO_FIRST),
    ("HELLO 9", "-NOPROTO unsupported protocol version"),
    ("HELLO 3 AUTH default bad", WRONG),
    ("HELLO 3 SETNAME foo", HELLO_FIRST),
    ("AUTH bad", WRONG),
    ("AUTH se", WRONG),
    ("AUTH secc", WRONG),
    ("AUTH ''", WRONG),
    ("AUTH Default sec", WRONG),
    ("GET a", NO_AUTH),
    // The password is right, and it counts, though the name is wrong.
    ("HELLO 3 AUTH default sec SETNAME \"a b\"", NAME),
    ("GET a", "$-1"),
    ("RESET", "+RESET"),
    ("GET a", NO_AUTH),
    ("AUTH sec", "+OK"),
    ("AUTH bad", WRONG),
    ("GET a", "$-1"),
    ("CONFIG SET requirepass other", "+OK"),
    ("GET a", "$-1"),
    ("AUTH sec", WRONG),
    ("AUTH default other", "+OK"),
];

#[actix::test]
async fn a_client_without_the_password_may_only_say_hello() {
    let mut world = World::with(|settings| settings.password = "sec".into()).await;
    let mut own = world.client();
    assert_eq!(own.session.limits(&world.server), crate::resp::Limits::STRANGER);
    own.talk(&world, STRANGER).await;
    assert_ne!(own.session.limits(&world.server), crate::resp::Limits::STRANGER);
    world.client().talk(&world, &[("PING", NO_AUTH), ("QUIT", "+OK<end>")]).await;
    world.end().await;
}

#[actix::test]
async fn a_client_that_wants_no_answers_gets_none_and_its_commands_are_carried_out() {
    let mut world = World::begin().await;
    let lines = [
        ("CLIENT REPLY foo", "-ERR syntax error"),
        ("CLIENT REPLY ON", "+OK"),
        ("CLIENT REPLY SKIP", ""),
        ("SET a 1", ""),
        ("GET a", "$1 1"),
        ("CLIENT REPLY OFF", ""),
        ("SET a 2", ""),
        ("FOO", ""),
        ("WATCH a", ""),
        ("INFO", ""),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("GET a", "$1 2"),
        ("MULTI", "+OK"),
        ("CLIENT REPLY OFF", "+QUEUED"),
        ("PING", "+QUEUED"),
        // Redis leaves out elements of the array here, which no client can read.
        ("EXEC", "*2 +OK +PONG"),
        ("PING", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("CLIENT REPLY OFF", ""),
        ("QUIT", "<end>"),
    ];
    world.client().talk(&world, &lines).await;
    world.end().await;
}

#[actix::test]
async fn clients_are_listed_and_disconnected() {
    let mut world = World::begin().await;
    let (mut one, mut two, three) = (world.client(), world.client(), world.client());
    let lines = [
        ("CLIENT SETNAME me", "+OK"),
        ("SELECT 3", "+OK"),
        ("WATCH a b", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
    ];
    one.talk(&world, &lines).await;
    let list = two.ask(&world, "CLIENT LIST").await;
    for part in [
        "id=1 addr=127.0.0.1:1 laddr=127.0.0.1:7379 name=me age=",
        " flags=x db=3 sub=0 psub=0 ssub=0 multi=1 watch=2 ",
        " cmd=ping user=default redir=-1 resp=2 ",
        "\\nid=2 addr=127.0.0.1:2 ",
        " cmd=client|list ",
        " cmd=NULL ",
    ] {
        assert!(list.contains(part), "{part} is not in {list}");
    }
    assert!(two.ask(&world, "CLIENT INFO").await.contains("id=2 "));
    let some = two.ask(&world, "CLIENT LIST ID 3 9 1").await;
    assert_eq!(some.matches(" addr=").count(), 2, "{some}");
    let lines = [
        ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
        ("CLIENT KILL ID 99", ":0"),
        ("CLIENT KILL ID a", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL FOO bar", "-ERR syntax error"),
        ("CLIENT KILL ID 1 ID", "-ERR syntax error"),
        ("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT KILL TYPE pubsub", ":0"),
        ("CLIENT KILL USER foo", "-ERR No such user 'foo'"),
        ("CLIENT KILL SKIPME", "-ERR No such client"),
        ("CLIENT KILL SKIPME x", "-ERR syntax error"),
        ("CLIENT KILL SKIPME x ID 1", "-ERR syntax error"),
        ("CLIENT KILL 127.0.0.1:1", "+OK"),
    ];
    two.talk(&world, &lines).await;
    let killed = |talk: &Talk| talk.session.killed().is_cancelled();
    assert_eq!([killed(&one), killed(&two), killed(&three)], [true, false, false]);
    drop(one);
    assert_eq!(world.server.clients.len(), 2);
    // Unless it says so, a client does not disconnect itself.
    two.talk(&world, &[("CLIENT KILL USER default", ":1")]).await;
    assert_eq!([killed(&two), killed(&three)], [false, true]);
    two.talk(&world, &[("CLIENT KILL LADDR 127.0.0.1:7379 SKIPME no", ":2<end>")]).await;
    assert!(!killed(&two), "it is told how many there were first");
    world.end().await;
}

#[actix::test]
async fn one_client_more_than_may_be_is_sent_away() {
    let mut world = World::with(|settings| settings.max_clients = 1).await;
    let one = world.client();
    let address = one.session.client().address;
    let second = crate::session::Session::begin(&world.server, address, address);
    assert_eq!(second.err(), Some(crate::resp::Reply::err("max number of clients reached")));
    drop(one);
    world.client().talk(&world, &[("PING", "+PONG")]).await;
    assert_eq!(world.server.counters.rejected.get(), 1);
    world.end().await;
}
