//! `holdall serve`: runs the server until SIGTERM or SIGINT. SIGHUP reloads the settings. In AWS
//! Lambda it handles events instead of connections.

use super::{
    console::Console,
    error::{CliError, system_message},
    secret::token_key_line,
    settings::warn_of_variables,
    system::System,
    upstreams::profile_words,
};
use crate::{
    config::{Config, Exposure, ReloadSnapshot, ServeSettings},
    proto::key::KeyId,
    shell::{self, Function, LambdaEnvironment, NativeService, Runtime, Signal, Signals, StartError, StderrLog},
};

/// The arguments of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Use a new token key for this run only; its tokens become invalid when the process ends
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    settings: ServeSettings,
}

/// Serves until SIGTERM or SIGINT, then lets the requests in flight end.
///
/// # Errors
/// [`CliError`] if a setting is not valid, or the server cannot start.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let lambda = LambdaEnvironment::detect(&System);
    let dev_keys = if args.dev { Some(token_key_line("dev")?) } else { None };
    let dev_keys = dev_keys.as_ref().map(|keys| keys.as_str());
    // A Lambda instance that gets one event at a time has only a part of a core.
    let single = lambda.as_ref().is_some_and(|lambda| !lambda.is_concurrent());
    let runtime = if single { Runtime::single() } else { Runtime::new() };
    let runtime = runtime.map_err(|error| CliError::new(format!("cannot start the runtime: {error}")))?;
    let run = Run { args, dev_keys, lambda, console: Console::of_server() };
    StderrLog.watch_panics();
    runtime.block_on(async {
        match run.first_load() {
            Ok(config) => Box::pin(run.serve(config)).await,
            Err(error) => Err(run.start_failed(error).await),
        }
    })
}

/// One run of the server, with everything that a reload needs.
struct Run<'a> {
    args: &'a Args,
    dev_keys: Option<&'a str>,
    lambda: Option<LambdaEnvironment>,
    console: Console,
}

impl Run<'_> {
    /// Reads the settings at the start, and checks the names of variables, which a reload does not
    /// change.
    fn first_load(&self) -> Result<Config, CliError> {
        warn_of_variables(self.args.settings.variables_warning(&System)?);
        self.load()
    }

    /// Reads the settings. The rules for an open server differ between a listener and Lambda.
    fn load(&self) -> Result<Config, CliError> {
        let exposure = if self.lambda.is_some() { Exposure::Platform } else { Exposure::Listener };
        Ok(self.args.settings.load(self.dev_keys, exposure, &System)?)
    }

    async fn serve(&self, config: Config) -> Result<(), CliError> {
        config.warnings.iter().for_each(|warning| self.console.warn(warning));
        if self.dev_keys.is_some() {
            self.console.warn("--dev: the token key is new; all tokens become invalid when this process ends");
        }
        let signals = Signals::watch();
        let signals = signals.map_err(|error| CliError::new(format!("cannot watch for signals: {error}")))?;
        match &self.lambda {
            Some(lambda) => self.handle_events(config, lambda, signals).await,
            None => self.handle_connections(config, signals).await,
        }
    }

    async fn handle_events(
        &self,
        config: Config,
        lambda: &LambdaEnvironment,
        signals: Signals,
    ) -> Result<(), CliError> {
        let (snapshot, models) = (config.reload_snapshot(), model_lines(&config));
        let (listen, profiles) = (config.listen.to_string(), profile_lines(&config));
        let function = match Function::start(config, lambda, Box::new(StderrLog)).await {
            Ok(function) => function,
            Err(error) => return Err(self.start_failed(start_error(error, &listen)).await),
        };
        self.announce(function.warnings(), "handles AWS Lambda events", &models);
        let service = function.service();
        note_profiles(&service, profiles);
        let stopped = self.watch_signals(signals, &snapshot, &service);
        function.run(stopped).await.map_err(|error| CliError::new(error.to_string()))
    }

    async fn handle_connections(&self, config: Config, signals: Signals) -> Result<(), CliError> {
        let (snapshot, models) = (config.reload_snapshot(), model_lines(&config));
        let (listen, profiles) = (config.listen.to_string(), profile_lines(&config));
        let server = shell::start(config, Box::new(StderrLog)).await;
        let server = server.map_err(|error| start_error(error, &listen))?;
        let address = server.address().map_err(|error| CliError::new(error.to_string()))?;
        self.announce(server.warnings(), &format!("listens on http://{address}"), &models);
        let service = server.service();
        note_profiles(&service, profiles);
        server.run(self.watch_signals(signals, &snapshot, &service)).await;
        Ok(())
    }

    /// Reports the warnings of the start, then the version, the address and the models.
    fn announce(&self, notes: &[String], activity: &str, models: &[String]) {
        notes.iter().for_each(|note| self.console.warn(note));
        self.console.note(&format!("holdall {} {activity}", env!("CARGO_PKG_VERSION")));
        models.iter().for_each(|model| self.console.note(model));
    }

    /// Reloads at each SIGHUP. Ends at SIGTERM or SIGINT.
    async fn watch_signals(&self, mut signals: Signals, snapshot: &ReloadSnapshot, service: &NativeService) {
        while signals.next().await == Signal::Reload {
            self.reload(snapshot, service);
        }
        self.console.note("stopping: waiting for the requests in flight");
    }

    /// Reports a failed start to Lambda as well.
    async fn start_failed(&self, error: CliError) -> CliError {
        if let Some(lambda) = &self.lambda {
            lambda.report_start_failure(&error.one_line()).await;
        }
        error
    }

    /// Applies the new settings. If a setting is not valid, or if one changed that needs a restart,
    /// all old settings stay in use.
    fn reload(&self, snapshot: &ReloadSnapshot, service: &NativeService) {
        match self.load() {
            // New models could call upstreams that do not exist in this process. Users of one
            // identity mode are not the users of another.
            Ok(config) if !snapshot.refused_changes(&config.reload_snapshot()).is_empty() => {
                let changed = snapshot.refused_changes(&config.reload_snapshot()).join(", ");
                let error = CliError::new(format!("not reloaded, the old settings stay in use; changed: {changed}"));
                self.console.error(&error.with_hint("restart the server to change these settings"));
            }
            Ok(config) => self.apply(config, snapshot, service),
            Err(error) => {
                let message = format!("not reloaded, the old settings stay in use: {error}");
                let error = match error.hint() {
                    Some(hint) => CliError::new(message).with_hint(hint),
                    None => CliError::new(message),
                };
                self.console.error(&error);
            }
        }
    }

    fn apply(&self, config: Config, snapshot: &ReloadSnapshot, service: &NativeService) {
        let later = snapshot.restart_changes(&config.reload_snapshot());
        let keys: Vec<_> = config.deployment.keys.ids().map(KeyId::to_string).collect();
        config.warnings.iter().for_each(|warning| self.console.warn(warning));
        note_profiles(service, profile_lines(&config));
        service.reload(config.deployment, config.access);
        service.guard().set_rules(config.guard);
        if !later.is_empty() {
            self.console.warn(&format!("these changes need a restart: {}", later.join(", ")));
        }
        self.console.note(&format!("reloaded; keys {}", keys.join(", ")));
    }
}

fn model_lines(config: &Config) -> Vec<String> {
    config.deployment.models.as_slice().iter().map(|model| format!("  model {model:?}")).collect()
}

/// The profile of each upstream at an address.
fn profile_lines(config: &Config) -> Vec<String> {
    let upstreams = config.upstreams.iter().filter(|upstream| !upstream.is_builtin());
    upstreams.map(|upstream| format!("{}: {}", upstream.name, profile_words(upstream))).collect()
}

fn note_profiles(service: &NativeService, profiles: Vec<String>) {
    profiles.into_iter().for_each(|profile| service.notice("upstream_profile", profile));
}

fn start_error(error: StartError, listen: &str) -> CliError {
    match error {
        StartError::Listen(error) => CliError::new(format!("cannot listen on {listen}: {}", system_message(&error)))
            .with_hint("another process may use the port; choose another address with --listen ADDRESS"),
        error @ (StartError::Guard(_) | StartError::Upstreams(_)) => CliError::new(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use clap::Args as _;
    use zeroize::Zeroizing;

    use super::*;
    use crate::config::Sources;

    /// Records the names of the variables that are read.
    #[derive(Default)]
    struct Recorder(RefCell<BTreeSet<String>>);

    impl Sources for Recorder {
        fn file(&self, _: &str) -> Result<Zeroizing<String>, String> {
            Err("no files".to_owned())
        }

        fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
            self.0.borrow_mut().insert(name.to_owned());
            None
        }
    }

    #[test]
    fn every_variable_of_a_flag_is_read_without_flags() {
        let recorder = Recorder::default();
        ServeSettings::from_variables(&recorder).unwrap();
        let command = Args::augment_args(clap::Command::new("serve"));
        let flags = command.get_arguments().filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned()));
        assert_eq!(recorder.0.into_inner(), flags.collect());
    }
}
