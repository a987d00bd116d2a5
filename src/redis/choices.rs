//! The settings that take one of a few words.

use std::ffi::{CString, c_char, c_int, c_void};

use super::api::command_filter;
use super::api::context::Ctx;
use super::api::raw;
use super::api::raw::api;
use crate::core::settings::{
    InMulti, Settings, THROUGH_MULTI, THROUGH_WHEN_DOWN, WRITE_FORM, WhenDown, WriteForm,
};

/// A setting that takes one of a few words.
pub struct Choice {
    /// Name without the module's prefix.
    pub name: &'static str,
    /// The words, the default first.
    pub words: [&'static str; 2],
    /// The number of the current word.
    pub get: fn(&Settings) -> usize,
    /// Sets it.
    pub set: fn(&mut Settings, usize),
}

/// All of them.
pub const CHOICES: [Choice; 3] = [
    Choice {
        name: WRITE_FORM,
        words: [WriteForm::ALL[0].0, WriteForm::ALL[1].0],
        get: |settings| settings.write_form as usize,
        set: |settings, at| settings.write_form = WriteForm::ALL[at.min(1)].1,
    },
    Choice {
        name: THROUGH_WHEN_DOWN,
        words: [WhenDown::ALL[0].0, WhenDown::ALL[1].0],
        get: |settings| settings.through_when_down as usize,
        set: |settings, at| settings.through_when_down = WhenDown::ALL[at.min(1)].1,
    },
    Choice {
        name: THROUGH_MULTI,
        words: [InMulti::ALL[0].0, InMulti::ALL[1].0],
        get: |settings| settings.through_multi as usize,
        set: |settings, at| settings.through_multi = InMulti::ALL[at.min(1)].1,
    },
];

/// The callback that returns the number of a word.
pub type Get = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;
/// The callback that sets it.
pub type Set = unsafe extern "C" fn(
    *const c_char,
    c_int,
    *mut c_void,
    *mut *mut raw::RedisModuleString,
) -> c_int;

/// Registers them with the server; the callbacks get the position in [`CHOICES`].
///
/// # Errors
/// One sentence when the server refuses.
pub fn register(ctx: Ctx<'_>, get: Get, set: Set) -> Result<(), String> {
    for (at, Choice { name, words, .. }) in CHOICES.iter().enumerate() {
        let of = CString::new(*name).unwrap_or_default();
        let words = words.map(|word| CString::new(word).unwrap_or_default());
        let mut pointers = words.each_ref().map(|word| word.as_ptr());
        let numbers: [c_int; 2] = [0, 1];
        // SAFETY: called in RedisModule_OnLoad with its context; the server copies the name and the words; the
        // callbacks are the module's, and their argument is a number and not an address.
        let refused = unsafe {
            api!(RedisModule_RegisterEnumConfig)(
                ctx.raw(),
                of.as_ptr(),
                numbers[0],
                raw::REDISMODULE_CONFIG_DEFAULT,
                pointers.as_mut_ptr(),
                numbers.as_ptr(),
                2,
                Some(get),
                Some(set),
                None,
                at as *mut c_void,
            )
        };
        if refused != 0 {
            return Err(format!("the setting {name} cannot be registered"));
        }
    }
    Ok(())
}

/// The number of a word of `choice`.
///
/// # Errors
/// One sentence that names its words.
pub fn number(choice: &Choice, word: &str) -> Result<usize, String> {
    let at = choice.words.iter().position(|other| word.eq_ignore_ascii_case(other));
    at.ok_or_else(|| format!("{} takes {}", choice.name, choice.words.join(" or ")))
}

/// # Errors
/// One sentence if this server cannot do what the word asks for.
pub fn check(choice: &Choice, at: usize) -> Result<(), String> {
    let refuses = choice.name == THROUGH_MULTI && at == InMulti::Refuse as usize;
    if refuses && !command_filter::tells_clients() {
        return Err(format!(
            "{THROUGH_MULTI} refuse needs Redis 7.2 or newer, or Valkey: this server does not tell a module which \
             commands are in MULTI"
        ));
    }
    Ok(())
}
