//! Tests of the commands on a real store, and beside a real `redis-server`.

mod beside_redis;
mod promises;
mod tables;
mod world;

use self::tables::TABLES;
use self::world::World;

#[test]
fn each_row_of_the_tables_has_its_answer() {
    for (name, rows) in TABLES {
        let mut world = World::default();
        for (line, answer) in *rows {
            assert_eq!(world.ask(line), *answer, "{line:?} of {name}");
        }
    }
}

#[test]
fn each_command_of_the_table_is_found_in_any_letters_and_has_a_row() {
    let lines = TABLES.iter().flat_map(|(_, rows)| *rows).map(|(line, _)| *line);
    let names: Vec<_> =
        lines.filter_map(|line| line.split(' ').next()).map(str::to_ascii_lowercase).collect();
    for command in super::all().filter(|command| command.run.is_some()) {
        let found = super::find(command.name.to_ascii_uppercase().as_bytes()).unwrap();
        assert_eq!(found.name, command.name);
        let is_asked = names.iter().any(|name| name == command.name);
        assert!(is_asked || command.name == "randomkey", "{} has no row", command.name);
    }
    assert!(super::find(b"").is_none() && super::find(&[b'x'; 100]).is_none());
}
