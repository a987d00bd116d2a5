//! Reads the registrations file, for servers without persistence: lines as WB.LIST replies with them.

use std::path::Path;

use super::{Source, run_registration};
use crate::core::ids::Db;
use crate::core::registration::file_lines;
use crate::redis::file;
use crate::redis::state::Module;

/// Executes the WB.REGISTER lines of the file in `registrations-file`, if one is set.
///
/// # Errors
/// One sentence with the number of the line that failed; the module is not loaded then.
pub fn register_from_file(module: &Module) -> Result<(), String> {
    let path = module.pipeline.sources.borrow().registrations_file().to_owned();
    if path.is_empty() {
        return Ok(());
    }
    let text = file::registrations(Path::new(&path))
        .map_err(|error| format!("registrations-file {path} cannot be read: {error}"))?;
    let mut selected = Db(0);
    for (number, line) in file_lines::of(&text) {
        run_line(module, &mut selected, line)
            .map_err(|error| format!("{path} line {number}: {error}"))?;
    }
    Ok(())
}

fn run_line(module: &Module, selected: &mut Db, line: &[u8]) -> Result<(), String> {
    let words = file_lines::words(line)?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let [command, arguments @ ..] = words.as_slice() else {
        return Ok(());
    };
    if command.eq_ignore_ascii_case(b"SELECT") {
        *selected = database(module, arguments)?;
        return Ok(());
    }
    if !command.eq_ignore_ascii_case(b"WB.REGISTER") {
        return Err("each line is a WB.REGISTER command, or SELECT <database>".to_owned());
    }
    let id = run_registration(module, *selected, arguments, Source::Operator)?.id;
    module.pipeline.backlog.borrow_mut().set_from_file(id);
    Ok(())
}

fn database(module: &Module, arguments: &[&[u8]]) -> Result<Db, String> {
    let databases = module.databases.get().min(1 << 16);
    let number = match arguments {
        [number] => str::from_utf8(number).ok().and_then(|number| number.parse().ok()),
        _ => None,
    };
    let number = number.filter(|number: &u16| u32::from(*number) < databases);
    number.map(Db).ok_or_else(|| {
        let last = databases.saturating_sub(1);
        format!("SELECT takes the number of a logical database, 0 to {last} on this server")
    })
}
