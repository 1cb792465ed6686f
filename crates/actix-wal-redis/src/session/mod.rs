//! One client: its database, its password, its transaction.
