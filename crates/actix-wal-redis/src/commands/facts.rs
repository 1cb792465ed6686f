//! What `COMMAND INFO` and `COMMAND DOCS` say about the commands beside what they need to run. The words are Redis's.

/// What is said about a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Its name, in small letters.
    pub(crate) name: &'static str,
    /// Hints for proxies, separated by spaces.
    pub(crate) tips: &'static str,
    /// What it does with its keys, separated by spaces; for each kind of keys, separated by `|`.
    pub(crate) keys: &'static str,
    /// A remark about its keys, if there is one.
    pub(crate) notes: &'static str,
    /// What it does.
    pub(crate) summary: &'static str,
    /// The version of Redis that has it first.
    pub(crate) since: &'static str,
    /// What it belongs to.
    pub(crate) group: &'static str,
}

/// A command that is called by two words, `CONFIG GET`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subcommand {
    /// Both words, `config|get`, in small letters.
    pub(crate) name: &'static str,
    /// As for [`Command`](super::Command), and both words count.
    pub(crate) arity: i32,
    pub(crate) flags: &'static str,
    pub(crate) keys: (i32, i32, i32),
    pub(crate) categories: &'static str,
    /// Hints for proxies, separated by spaces.
    pub(crate) tips: &'static str,
}

impl Subcommand {
    /// The second word.
    pub(crate) fn word(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, word)| word)
    }
}

/// What is said about this command.
pub(crate) fn of(name: &str) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.name == name)
}

/// The second words of a command that has them.
pub(crate) fn subcommands(name: &str) -> impl Iterator<Item = &'static Subcommand> {
    SUBCOMMANDS
        .iter()
        .filter(move |sub| sub.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('|')))
}

const fn fact(
    name: &'static str,
    tips: &'static str,
    keys: &'static str,
    notes: &'static str,
    [summary, since, group]: [&'static str; 3],
) -> Facts {
    Facts { name, tips, keys, notes, summary, since, group }
}

const fn sub(
    name: &'static str,
    arity: i32,
    flags: &'static str,
    keys: (i32, i32, i32),
    categories: &'static str,
    tips: &'static str,
) -> Subcommand {
    Subcommand { name, arity, flags, keys, categories, tips }
}

#[rustfmt::skip]
const SUBCOMMANDS: &[Subcommand] = &[
    sub("client|getname", 2, "noscript loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("client|help", 2, "loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("client|id", 2, "noscript loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("client|info", 2, "noscript loading stale", (0, 0, 0), "@slow @connection", "nondeterministic_output"),
    sub("client|kill", -3, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous @connection", ""),
    sub("client|list", -2, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous @connection", "nondeterministic_output"),
    sub("client|no-evict", 3, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous @connection", ""),
    sub("client|reply", 3, "noscript loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("client|setinfo", 4, "noscript loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("client|setname", 3, "noscript loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("command|count", 2, "loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("command|docs", -2, "loading stale", (0, 0, 0), "@slow @connection", "nondeterministic_output_order"),
    sub("command|getkeys", -4, "loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("command|getkeysandflags", -4, "loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("command|help", 2, "loading stale", (0, 0, 0), "@slow @connection", ""),
    sub("command|info", -2, "loading stale", (0, 0, 0), "@slow @connection", "nondeterministic_output_order"),
    sub("command|list", -2, "loading stale", (0, 0, 0), "@slow @connection", "nondeterministic_output_order"),
    sub("config|get", -3, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous", ""),
    sub("config|help", 2, "loading stale", (0, 0, 0), "@slow", ""),
    sub("config|resetstat", 2, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous", ""),
    sub("config|rewrite", 2, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous", ""),
    sub("config|set", -4, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous", "request_policy:all_nodes response_policy:all_succeeded"),
    sub("object|encoding", 3, "readonly", (2, 2, 1), "@keyspace @read @slow", "nondeterministic_output"),
    sub("object|freq", 3, "readonly", (2, 2, 1), "@keyspace @read @slow", "nondeterministic_output"),
    sub("object|help", 2, "loading stale", (0, 0, 0), "@keyspace @slow", ""),
    sub("object|idletime", 3, "readonly", (2, 2, 1), "@keyspace @read @slow", "nondeterministic_output"),
    sub("object|refcount", 3, "readonly", (2, 2, 1), "@keyspace @read @slow", "nondeterministic_output"),
    sub("function|flush", -2, "write noscript", (0, 0, 0), "@write @slow @scripting", "request_policy:all_shards response_policy:all_succeeded"),
    sub("function|help", 2, "loading stale", (0, 0, 0), "@slow @scripting", ""),
];

#[rustfmt::skip]
const FACTS: &[Facts] = &[
    fact("ping", "request_policy:all_shards response_policy:all_succeeded", "", "", ["Ping the server", "1.0.0", "connection"]),
    fact("echo", "", "", "", ["Echo the given string", "1.0.0", "connection"]),
    fact("hello", "", "", "", ["Handshake with Redis", "6.0.0", "connection"]),
    fact("auth", "", "", "", ["Authenticate to the server", "1.0.0", "connection"]),
    fact("quit", "", "", "", ["Close the connection", "1.0.0", "connection"]),
    fact("reset", "", "", "", ["Reset the connection", "6.2.0", "connection"]),
    fact("client", "", "", "", ["A container for client connection commands", "2.4.0", "connection"]),
    fact("command", "nondeterministic_output_order", "", "", ["Get array of Redis command details", "2.8.13", "server"]),
    fact("info", "nondeterministic_output request_policy:all_shards response_policy:special", "", "", ["Get information and statistics about the server", "1.0.0", "server"]),
    fact("config", "", "", "", ["A container for server configuration commands", "2.0.0", "server"]),
    fact("time", "nondeterministic_output", "", "", ["Return the current server time", "2.6.0", "server"]),
    fact("select", "", "", "", ["Change the selected database for the current connection", "1.0.0", "connection"]),
    fact("set", "", "RW access update variable_flags", "RW and ACCESS due to the optional `GET` argument", ["Set the string value of a key", "1.0.0", "string"]),
    fact("get", "", "RO access", "", ["Get the value of a key", "1.0.0", "string"]),
    fact("getset", "", "RW access update", "", ["Set the string value of a key and return its old value", "1.0.0", "string"]),
    fact("getdel", "", "RW access delete", "", ["Get the value of a key and delete the key", "6.2.0", "string"]),
    fact("getex", "", "RW access update", "RW and UPDATE because it changes the TTL", ["Get the value of a key and optionally set its expiration", "6.2.0", "string"]),
    fact("getrange", "", "RO access", "", ["Get a substring of the string stored at a key", "2.4.0", "string"]),
    fact("substr", "", "RO access", "", ["Get a substring of the string stored at a key", "1.0.0", "string"]),
    fact("setrange", "", "RW update", "", ["Overwrite part of a string at key starting at the specified offset", "2.2.0", "string"]),
    fact("setnx", "", "OW insert", "", ["Set the value of a key, only if the key does not exist", "1.0.0", "string"]),
    fact("setex", "", "OW update", "", ["Set the value and expiration of a key", "2.0.0", "string"]),
    fact("psetex", "", "OW update", "", ["Set the value and expiration in milliseconds of a key", "2.6.0", "string"]),
    fact("mset", "request_policy:multi_shard response_policy:all_succeeded", "OW update", "", ["Set multiple keys to multiple values", "1.0.1", "string"]),
    fact("msetnx", "request_policy:multi_shard response_policy:agg_min", "OW insert", "", ["Set multiple keys to multiple values, only if none of the keys exist", "1.0.1", "string"]),
    fact("mget", "request_policy:multi_shard", "RO access", "", ["Get the values of all the given keys", "1.0.0", "string"]),
    fact("append", "", "RW insert", "", ["Append a value to a key", "2.0.0", "string"]),
    fact("strlen", "", "RO", "", ["Get the length of the value stored in a key", "2.2.0", "string"]),
    fact("incr", "", "RW access update", "", ["Increment the integer value of a key by one", "1.0.0", "string"]),
    fact("decr", "", "RW access update", "", ["Decrement the integer value of a key by one", "1.0.0", "string"]),
    fact("incrby", "", "RW access update", "", ["Increment the integer value of a key by the given amount", "1.0.0", "string"]),
    fact("decrby", "", "RW access update", "", ["Decrement the integer value of a key by the given number", "1.0.0", "string"]),
    fact("incrbyfloat", "", "RW access update", "", ["Increment the float value of a key by the given amount", "2.6.0", "string"]),
    fact("del", "request_policy:multi_shard response_policy:agg_sum", "RM delete", "", ["Delete a key", "1.0.0", "generic"]),
    fact("unlink", "request_policy:multi_shard response_policy:agg_sum", "RM delete", "", ["Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.", "4.0.0", "generic"]),
    fact("exists", "request_policy:multi_shard response_policy:agg_sum", "RO", "", ["Determine if a key exists", "1.0.0", "generic"]),
    fact("type", "", "RO", "", ["Determine the type stored at key", "1.0.0", "generic"]),
    fact("touch", "request_policy:multi_shard response_policy:agg_sum", "RO", "", ["Alters the last access time of a key(s). Returns the number of existing keys specified.", "3.2.1", "generic"]),
    fact("rename", "", "RW access delete | OW update", "", ["Rename a key", "1.0.0", "generic"]),
    fact("renamenx", "", "RW access delete | OW insert", "", ["Rename a key, only if the new key does not exist", "1.0.0", "generic"]),
    fact("randomkey", "request_policy:all_shards nondeterministic_output", "", "", ["Return a random key from the keyspace", "1.0.0", "generic"]),
    fact("keys", "request_policy:all_shards nondeterministic_output_order", "", "", ["Find all keys matching the given pattern", "1.0.0", "generic"]),
    fact("scan", "nondeterministic_output request_policy:special", "", "", ["Incrementally iterate the keys space", "2.8.0", "generic"]),
    fact("dbsize", "request_policy:all_shards response_policy:agg_sum", "", "", ["Return the number of keys in the selected database", "1.0.0", "server"]),
    fact("flushdb", "request_policy:all_shards response_policy:all_succeeded", "", "", ["Remove all keys from the current database", "1.0.0", "server"]),
    fact("flushall", "request_policy:all_shards response_policy:all_succeeded", "", "", ["Remove all keys from all databases", "1.0.0", "server"]),
    fact("expire", "", "RW update", "", ["Set a key's time to live in seconds", "1.0.0", "generic"]),
    fact("pexpire", "", "RW update", "", ["Set a key's time to live in milliseconds", "2.6.0", "generic"]),
    fact("expireat", "", "RW update", "", ["Set the expiration for a key as a UNIX timestamp", "1.2.0", "generic"]),
    fact("pexpireat", "", "RW update", "", ["Set the expiration for a key as a UNIX timestamp specified in milliseconds", "2.6.0", "generic"]),
    fact("ttl", "nondeterministic_output", "RO access", "", ["Get the time to live for a key in seconds", "1.0.0", "generic"]),
    fact("pttl", "nondeterministic_output", "RO access", "", ["Get the time to live for a key in milliseconds", "2.6.0", "generic"]),
    fact("expiretime", "", "RO access", "", ["Get the expiration Unix timestamp for a key", "7.0.0", "generic"]),
    fact("pexpiretime", "", "RO access", "", ["Get the expiration Unix timestamp for a key in milliseconds", "7.0.0", "generic"]),
    fact("persist", "", "RW update", "", ["Remove the expiration from a key", "2.2.0", "generic"]),
    fact("object", "", "", "", ["A container for object introspection commands", "2.2.3", "generic"]),
    fact("move", "", "RW access update", "", ["Move a key to another database", "1.0.0", "generic"]),
    fact("swapdb", "", "", "", ["Swaps two Redis databases", "4.0.0", "server"]),
    fact("multi", "", "", "", ["Mark the start of a transaction block", "1.2.0", "transactions"]),
    fact("exec", "", "", "", ["Execute all commands issued after MULTI", "1.2.0", "transactions"]),
    fact("discard", "", "", "", ["Discard all commands issued after MULTI", "2.0.0", "transactions"]),
    fact("watch", "", "RO", "", ["Watch the given keys to determine execution of the MULTI/EXEC block", "2.2.0", "transactions"]),
    fact("unwatch", "", "", "", ["Forget about all watched keys", "2.2.0", "transactions"]),
    fact("shutdown", "", "", "", ["Synchronously save the dataset to disk and then shut down the server", "1.0.0", "server"]),
    fact("function", "", "", "", ["A container for function commands", "7.0.0", "scripting"]),
    fact("debug", "", "", "", ["A container for debugging commands", "1.0.0", "server"]),
    fact("lcs", "", "RO access", "", ["Find longest common substring", "7.0.0", "string"]),
    fact("waitaof", "request_policy:all_shards response_policy:agg_min", "", "", ["Wait for all write commands sent in the context of the current connection to be synced to the log", "7.2.0", "generic"]),
];
