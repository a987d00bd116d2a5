//! Reads the registrations file, for servers without persistence.

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
    for (number, line) in file_lines::of(&text) {
        run_line(module, line).map_err(|error| format!("{path} line {number}: {error}"))?;
    }
    Ok(())
}

fn run_line(module: &Module, line: &[u8]) -> Result<(), String> {
    let words = file_lines::words(line)?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let [command, arguments @ ..] = words.as_slice() else {
        return Ok(());
    };
    if !command.eq_ignore_ascii_case(b"WB.REGISTER") {
        return Err("each line is a WB.REGISTER command".to_owned());
    }
    let id = run_registration(module, Db(0), arguments, Source::Operator)?;
    module.pipeline.backlog.borrow_mut().set_from_file(id);
    Ok(())
}
