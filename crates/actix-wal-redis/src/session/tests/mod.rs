//! Sessions without a network, on a real coordinator with a real log.

mod about_server;
mod beside_redis;
mod connections;
mod transactions;
mod world;

use self::world::{Talk, World};
