//! docs/COMMANDS.md.
