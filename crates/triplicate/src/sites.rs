//! Which places a command works with: addresses and names of `triplicate.toml`, and what is set for each.
//!
//! An address (`rest:https://host/`) takes its credentials from the environment, as restic does, and so does everybody
//! else of its kind. A name (`@nas`) takes everything from its table in the configuration and nothing from the
//! environment: a key that is meant for one place must not be sent to another. Options (`-o s3.region=x`) are for every
//! place of their kind, named or not, and win.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use config::{Config, NoSite, SecretReference};
use destinations::settings::{self, SettingError, Value};
use destinations::{
    Access, AzureAccess, B2Access, DropboxAccess, GoogleAccess, Location, LocationError, RcloneAccess, RestAccess,
    S3Access, Settings, Site, SshAccess, TlsAccess, WebdavAccess,
};
use model::Secret;

use crate::arguments::Global;
use crate::environment;
use crate::failure::Failure;
use crate::password::of_variables;
use crate::session::own_folder;
use crate::ssh;

/// What stands before a name of the configuration.
const NAME_MARK: char = '@';

/// The places at `addresses`, with everything that is set for them.
pub(crate) fn resolve(addresses: &[String], global: &Global) -> Result<Vec<Site>, Failure> {
    let config = OnceCell::new();
    let mut sites: Vec<Site> = Vec::new();
    for address in addresses {
        let site = match address.strip_prefix(NAME_MARK) {
            Some(name) => named(name, &config, global)?,
            None => known_by_address(parse(address)?)?,
        };
        sites.push(with_options(site, global)?);
    }
    refuse_unknown_kinds(&sites, global)?;
    let locations: Vec<&Location> = all_places(&sites).map(|site| &site.location).collect();
    refuse_same_place(&locations)?;
    Ok(sites)
}

/// The places, and the hot parts of those that have one.
fn all_places(sites: &[Site]) -> impl Iterator<Item = &Site> {
    sites.iter().flat_map(|site| [Some(site), site.hot.as_deref()]).flatten()
}

/// A place that is known by its address alone, with everything that is set for it.
pub(crate) fn plain(location: Location, global: &Global) -> Result<Site, Failure> {
    with_options(known_by_address(location)?, global)
}

/// Such a place, with what the environment sets for it.
fn known_by_address(location: Location) -> Result<Site, Failure> {
    let mut settings = from_environment();
    if matches!(location, Location::Sftp(_) | Location::Rsync(_)) {
        ssh::let_in(&mut settings.access.ssh)?;
    }
    if let (Location::Google(_), Some(path)) = (&location, environment::path(environment::GOOGLE_CREDENTIALS)) {
        let file = SecretReference::File(path).resolve().map_err(|error| Failure::failed(error.to_string()))?;
        settings.access.google.credentials = Some(file);
    }
    if matches!(location, Location::Ftps(_)) {
        settings.access.ftps.password = of_variables(environment::FTPS_PASSWORD)?;
    }
    Ok(Site { location, settings, hot: None })
}

/// What the call sets is for every place, named or not, and wins.
fn with_options(mut site: Site, global: &Global) -> Result<Site, Failure> {
    for_all(&mut site.settings, global);
    for option in &global.option {
        set(&mut site, option)?;
    }
    site.hot = site.hot.map(|hot| with_options(*hot, global).map(Box::new)).transpose()?;
    Ok(site)
}

/// Understands addresses without what is set for them.
pub(crate) fn parse_locations(texts: &[String]) -> Result<Vec<Location>, Failure> {
    let locations = texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    refuse_same_place(&locations.iter().collect::<Vec<_>>())?;
    Ok(locations)
}

fn parse(text: &str) -> Result<Location, Failure> {
    if text.starts_with(NAME_MARK) {
        let hint = "write `./@name` for a folder of that name";
        return Err(Failure::usage(format!("the name `{text}` cannot stand here")).hint(hint));
    }
    text.parse().map_err(|error: LocationError| Failure::usage(error.to_string()).hint(error.hint))
}

/// A place of the configuration, which is read for the first name.
fn named(name: &str, config: &OnceCell<Config>, global: &Global) -> Result<Site, Failure> {
    let config = match config.get() {
        Some(config) => config,
        None => {
            let read = read_config(global)?;
            config.get_or_init(|| read)
        }
    };
    config.site(name).map_err(|error| match error {
        NoSite::Unknown(error) => Failure::usage(error.to_string()),
        NoSite::Secret { .. } => Failure::failed(error.to_string()),
    })
}

/// The configuration that `--config`, its variable or the user's folder names.
pub(crate) fn read_config(global: &Global) -> Result<Config, Failure> {
    let set = global.config.clone().or_else(|| environment::path(environment::CONFIG));
    let usual = || own_folder(environment::XDG_CONFIG, ".config").map(|folder| folder.join("triplicate.toml"));
    let path: PathBuf = set
        .or_else(usual)
        .ok_or_else(|| Failure::usage("there is no folder for a configuration").hint("name the file with --config"))?;
    Config::read(&path).map_err(|error| Failure::usage(error.to_string()))
}

/// Credentials as restic takes them from the environment.
fn from_environment() -> Settings {
    let secret = |name| environment::text(name).map(Secret::from);
    let access = Access {
        rest: RestAccess {
            username: environment::text(environment::REST_USERNAME),
            password: secret(environment::REST_PASSWORD),
        },
        s3: S3Access {
            key_id: environment::text(environment::AWS_KEY_NAME),
            key: secret(environment::AWS_KEY),
            session_token: secret(environment::AWS_TOKEN),
            region: environment::AWS_REGION.into_iter().find_map(environment::text),
            ..S3Access::default()
        },
        azure: AzureAccess {
            account_name: environment::text(environment::AZURE_NAME),
            account_key: secret(environment::AZURE_KEY),
            account_sas: secret(environment::AZURE_SAS),
            endpoint_suffix: environment::text(environment::AZURE_SUFFIX),
            ..AzureAccess::default()
        },
        b2: B2Access {
            account_id: environment::text(environment::B2_KEY_NAME),
            account_key: secret(environment::B2_KEY),
            ..B2Access::default()
        },
        google: GoogleAccess {
            access_token: secret(environment::GOOGLE_TOKEN),
            project_id: environment::text(environment::GOOGLE_PROJECT),
            ..GoogleAccess::default()
        },
        dropbox: DropboxAccess {
            app_key: environment::text(environment::DROPBOX_APP_KEY),
            app_secret: secret(environment::DROPBOX_APP_SECRET),
            refresh_token: secret(environment::DROPBOX_REFRESH_TOKEN),
            ..DropboxAccess::default()
        },
        webdav: WebdavAccess {
            username: environment::text(environment::WEBDAV_USERNAME),
            password: secret(environment::WEBDAV_PASSWORD),
            bearer_token: secret(environment::WEBDAV_TOKEN),
        },
        ssh: SshAccess::default(),
        rclone: RcloneAccess::default(),
        tls: TlsAccess {
            ca_certificate: environment::path(environment::CERTIFICATE),
            pinned_certificate: environment::text(environment::PINNED_CERTIFICATE),
            client_certificate: environment::path(environment::CLIENT_CERTIFICATE),
            client_key: None,
            proxy: secret(environment::PROXY),
        },
        ..Access::default()
    };
    Settings { access, ..Settings::default() }
}

/// Options that are for every place of whatever kind.
fn for_all(settings: &mut Settings, global: &Global) {
    ssh::be_this_user(&mut settings.access.ssh);
    if let Some(path) = &global.cacert {
        settings.access.tls.ca_certificate = Some(path.clone());
    }
    if let Some(total) = global.retry_total {
        settings.limits.retry_total_seconds = total.as_secs();
    }
    let rates = &mut settings.rates;
    for (limit, rate) in [(&global.limit_upload, &mut rates.upload), (&global.limit_download, &mut rates.download)] {
        if let Some(limit) = limit {
            rate.clone_from(limit);
        }
    }
    if let Some(limit) = global.limit_requests {
        rates.requests_per_second = limit.get();
    }
}

/// Sets `kind.name=value` where the place is of that kind.
fn set(site: &mut Site, option: &str) -> Result<(), Failure> {
    let (kind, name, text) = parts(option)?;
    if kind != site.location.kind() {
        return Ok(());
    }
    let refused = |why: String, hint: String| {
        let failure = Failure::usage(format!("cannot use the option `{kind}.{name}`: {why}"));
        if hint.is_empty() { failure } else { failure.hint(hint) }
    };
    let setting = settings::find(kind, name).map_err(|error| refused(error.to_string(), hint_for(&error, kind)))?;
    let value = if setting.is_secret() {
        let reference: SecretReference = text.parse().map_err(|why: String| {
            refused("a secret does not belong on a command line, where every user can read it".to_owned(), why)
        })?;
        Value::Secret(reference.resolve().map_err(|error| refused(error.to_string(), String::new()))?)
    } else {
        Value::Text(text.to_owned())
    };
    setting.set(&mut site.settings, value).map_err(|error| refused(error.to_string(), String::new()))
}

fn parts(option: &str) -> Result<(&str, &str, &str), Failure> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    match key.split_once('.') {
        Some((kind, name)) if option.contains('=') => Ok((kind, name, value)),
        // What stands behind `=` may be a secret, so the option is not repeated.
        _ => Err(Failure::usage("an option has another form")
            .hint("write `-o kind.name=value`, as in `-o s3.region=eu-west-1`")),
    }
}

/// An option that is for none of the places does nothing, which is not what was meant.
fn refuse_unknown_kinds(sites: &[Site], global: &Global) -> Result<(), Failure> {
    for option in &global.option {
        let (kind, name, _) = parts(option)?;
        if !all_places(sites).any(|site| site.location.kind() == kind) {
            return Err(Failure::usage(format!("the option `{kind}.{name}` is for no copy that was named")));
        }
    }
    Ok(())
}

fn hint_for(error: &SettingError, kind: &str) -> String {
    match error {
        SettingError::Unknown { nearest: Some(meant), .. } => format!("`{kind}.{meant}` may be meant"),
        _ => {
            let names: Vec<String> =
                settings::of_kind(kind).map(|setting| format!("`{kind}.{}`", setting.name)).collect();
            format!("known are {}", names.join(", "))
        }
    }
}

/// Refuses one place under two names: two copies in one folder are one copy.
fn refuse_same_place(locations: &[&Location]) -> Result<(), Failure> {
    for (number, location) in locations.iter().enumerate() {
        let Some(same) = locations[..number].iter().find(|other| is_same_place(other, location)) else { continue };
        let message = if same.to_string() == location.to_string() {
            format!("{location} is named twice")
        } else {
            format!("{same} and {location} are the same place")
        };
        return Err(Failure::usage(message).hint("each copy needs a place of its own"));
    }
    Ok(())
}

fn is_same_place(one: &Location, other: &Location) -> bool {
    if one.to_string() == other.to_string() {
        return true;
    }
    let (Location::Local(one), Location::Local(other)) = (one, other) else { return false };
    let absolute = |path: &std::path::Path| std::path::absolute(path).ok().map(|path| path.components().collect());
    let (path_one, path_other): (Option<std::path::PathBuf>, Option<std::path::PathBuf>) =
        (absolute(&one.path), absolute(&other.path));
    if path_one.is_some() && path_one == path_other {
        return true;
    }
    let inode = |path: &std::path::Path| std::fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    let (inode_one, inode_other) = (inode(&one.path), inode(&other.path));
    inode_one.is_some() && inode_one == inode_other
}
