//! `holdall serve`: the proxy until it is told to stop; SIGHUP reads the settings anew. Where AWS Lambda started the process,
//! its events take the place of a listener.

use super::{CliError, console::Console, keys, settings::System};
use crate::{
    config::{Config, Exposure, ReloadSnapshot, ServeSettings},
    proto::key::KeyId,
    shell::{self, Function, LambdaEnvironment, NativeService, Runtime, Signal, Signals, StartError, StderrLog},
};

/// The arguments of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Make a key for this run: tokens die with the process
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    settings: ServeSettings,
}

impl Args {
    /// A function takes another configuration than a listener: what is open to all is another matter.
    fn load(&self, dev_keys: Option<&str>, place: Option<&LambdaEnvironment>) -> Result<Config, CliError> {
        let exposure = if place.is_some() { Exposure::Platform } else { Exposure::Listener };
        Ok(self.settings.load(dev_keys, exposure, &System)?)
    }
}

/// Serves until SIGTERM or SIGINT, and then until requests under way have ended.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let place = LambdaEnvironment::find(&System);
    let dev_keys = if args.dev { Some(keys::new_entry("dev")?) } else { None };
    let dev_keys = dev_keys.as_ref().map(|keys| keys.as_str());
    // An instance that takes one event at a time has a part of a core.
    let single = place.as_ref().is_some_and(|place| !place.gives_several());
    let runtime = if single { Runtime::single() } else { Runtime::new() };
    let runtime = runtime.map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    let settings = Settings { args, dev_keys, place };
    runtime.block_on(async {
        match args.load(dev_keys, settings.place.as_ref()) {
            Ok(config) => serve(&settings, config).await,
            Err(error) => Err(settings.not_started(error).await),
        }
    })
}

/// What the settings were made of, for making them anew.
struct Settings<'a> {
    args: &'a Args,
    dev_keys: Option<&'a str>,
    place: Option<LambdaEnvironment>,
}

async fn serve(settings: &Settings<'_>, config: Config) -> Result<(), CliError> {
    let console = Console::system();
    config.warnings.iter().for_each(|warning| console.warn(warning));
    if settings.dev_keys.is_some() {
        console.warn("--dev made a key for this run; every token dies with this process");
    }
    let models: Vec<_> = config.deployment.models.as_slice().iter().map(|model| format!("{model:?}")).collect();
    let greet = |notes: &[String], what: &str| {
        notes.iter().for_each(|note| console.warn(note));
        console.say(&format!("holdall {} {what}", env!("CARGO_PKG_VERSION")));
        models.iter().for_each(|model| console.say(&format!("  model {model}")));
    };
    let mut signals = Signals::watch().map_err(|error| CliError::new(format!("cannot watch signals: {error}")))?;
    let (fixed, listen) = (config.reload_snapshot(), config.listen);
    let failed = |error| match error {
        StartError::Listen(error) => CliError::new(format!("cannot listen on {listen}: {error}"))
            .hint("another process may hold the port; pass --listen"),
        error @ (StartError::Guard(_) | StartError::Upstreams(_)) => CliError::new(error.to_string()),
    };
    let mut stop = async |service: &NativeService| {
        while signals.next().await == Signal::Reload {
            settings.reload(&fixed, service, console);
        }
        console.say("stopping; requests under way may end");
    };
    let log = Box::new(StderrLog);
    match &settings.place {
        Some(place) => {
            let function = match Function::start(config, place, log).await {
                Ok(function) => function,
                Err(error) => return Err(settings.not_started(failed(error)).await),
            };
            greet(function.notes(), "takes events of AWS Lambda");
            let service = function.service();
            function.run(stop(&service)).await.map_err(|error| CliError::new(error.to_string()))
        }
        None => {
            let server = shell::start(config, log).await.map_err(failed)?;
            let address = server.address().map_err(|error| CliError::new(error.to_string()))?;
            greet(server.notes(), &format!("listens on http://{address}"));
            let service = server.service();
            server.run(stop(&service)).await;
            Ok(())
        }
    }
}

impl Settings<'_> {
    /// Tells the platform as well, if there is one, why there is no service.
    async fn not_started(&self, error: CliError) -> CliError {
        if let Some(place) = &self.place {
            place.fail_start(&error.in_a_line()).await;
        }
        error
    }

    /// Takes what the settings say now; a fault in them, or a change of what only a start can change, leaves everything as
    /// it was.
    fn reload(&self, fixed: &ReloadSnapshot, service: &NativeService, console: Console) {
        match self.args.load(self.dev_keys, self.place.as_ref()) {
            // The new models would ask upstreams that are not there, and users of one mode are not those of another.
            Ok(config) if !fixed.refused_changes(&config.reload_snapshot()).is_empty() => {
                let changed = fixed.refused_changes(&config.reload_snapshot()).join(", ");
                let error = CliError::new(format!("not reloaded, all stays as it was; changed: {changed}"));
                console.error(&error.hint("restart the server to change that"));
            }
            Ok(config) => {
                let later = fixed.restart_changes(&config.reload_snapshot());
                let keys: Vec<_> = config.deployment.keys.ids().map(KeyId::to_string).collect();
                config.warnings.iter().for_each(|warning| console.warn(warning));
                service.reload(config.deployment, config.access);
                service.guard().set_rules(config.guard);
                if !later.is_empty() {
                    console.warn(&format!("takes effect at a restart: {}", later.join(", ")));
                }
                console.say(&format!("reloaded; keys {}", keys.join(", ")));
            }
            Err(error) => console.error(&CliError::new(format!("not reloaded, all stays as it was: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use clap::Args as _;
    use zeroize::Zeroizing;

    use super::*;
    use crate::config::Sources;

    /// Notes what it is asked for.
    #[derive(Default)]
    struct Noting(RefCell<BTreeSet<String>>);

    impl Sources for Noting {
        fn file(&self, _: &str) -> Result<Zeroizing<String>, String> {
            Err("there is none".to_owned())
        }

        fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
            self.0.borrow_mut().insert(name.to_owned());
            None
        }
    }

    #[test]
    fn every_flag_is_a_variable_where_there_are_variables_alone() {
        let noting = Noting::default();
        ServeSettings::from_variables(&noting).unwrap();
        let command = Args::augment_args(clap::Command::new("serve"));
        let flags = command.get_arguments().filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned()));
        assert_eq!(noting.0.into_inner(), flags.collect());
    }
}
