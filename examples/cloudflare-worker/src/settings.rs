//! Reads settings from bindings. A variable is a binding with its name, and so is a file.

use std::cell::RefCell;

use holdall::config::{Config, ConfigError, Sources};
use wasm_bindgen::JsValue;
use worker::{Env, js_sys::Reflect};
use zeroize::Zeroizing;

/// Loads the configuration from the bindings.
///
/// # Errors
/// The first error of the configuration.
pub(crate) fn load(env: &Env) -> Result<Config, ConfigError> {
    let bindings = Bindings { env, unlike: RefCell::default() };
    let config = Config::for_isolate(&bindings);
    // Reported before any other error, since it may be the cause of the other.
    match bindings.unlike.into_inner() {
        None => config,
        Some(name) => Err(ConfigError::Settings {
            fault: format!("{name}: The binding is not a text, a number or a boolean."),
            hint: Some("Make it a variable under [vars], or a secret with `wrangler secret put`.".to_owned()),
        }),
    }
}

struct Bindings<'a> {
    env: &'a Env,
    /// The first requested binding that cannot be a setting. To treat it as not set would silently
    /// ignore what the operator has set.
    unlike: RefCell<Option<String>>,
}

impl Sources for Bindings<'_> {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        self.variable(path)
            .ok_or_else(|| "No binding has this name. In a Worker, a binding replaces a file.".to_owned())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        let value = Reflect::get(self.env, &JsValue::from_str(name)).ok()?;
        if value.is_undefined() || value.is_null() {
            return None;
        }
        let Some(text) = text(&value) else {
            self.unlike.borrow_mut().get_or_insert_with(|| name.to_owned());
            return None;
        };
        Some(text).filter(|text| !text.is_empty()).map(Zeroizing::new)
    }
}

/// The text of a binding. Numbers and booleans under `[vars]` arrive as such and are converted.
fn text(value: &JsValue) -> Option<String> {
    let number = || value.as_f64().map(|number| number.to_string());
    let truth = || value.as_bool().map(|truth| truth.to_string());
    value.as_string().or_else(number).or_else(truth)
}
