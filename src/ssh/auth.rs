//! Logging in: which method, with which key, in which order.

use std::path::{Path, PathBuf};

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Interview, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, PublicKey, load_public_key, ssh_key};
use russh::{MethodKind, MethodSet, SendError, Signer};
use zeroize::Zeroizing;

use super::client::Guard;
use super::login::Login;
use super::{failure, keyfile};
use crate::console::ask;
use crate::error::{Error, Kind, Result};
use crate::report;

/// How often a password or passphrase is asked for.
const ATTEMPTS: usize = 3;

/// Logs in with whatever the server takes, in OpenSSH's order.
///
/// # Errors
/// [`Kind::Auth`], saying what was tried.
pub(super) async fn log_in(handle: &mut Handle<Guard>, login: &Login) -> Result<()> {
    let mut methods = match handle.authenticate_none(&login.user).await.map_err(failure)? {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure { remaining_methods, .. } => remaining_methods,
    };
    let mut attempt = Attempt { handle, login, tried: Vec::new() };
    loop {
        let next = attempt.next(&methods).await?;
        match next {
            Next::In => return Ok(()),
            // One factor of several.
            Next::More(more) => methods = more,
            Next::No => return Err(attempt.refused(&methods)),
        }
    }
}

struct Attempt<'a> {
    handle: &'a mut Handle<Guard>,
    login: &'a Login,
    tried: Vec<MethodKind>,
}

enum Next {
    In,
    /// Not enough yet; the server says what it takes besides.
    More(MethodSet),
    No,
}

impl From<AuthResult> for Next {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Self::In,
            AuthResult::Failure { remaining_methods, partial_success: true } => {
                Self::More(remaining_methods)
            }
            AuthResult::Failure { .. } => Self::No,
        }
    }
}

impl Attempt<'_> {
    async fn next(&mut self, methods: &MethodSet) -> Result<Next> {
        for method in [MethodKind::PublicKey, MethodKind::KeyboardInteractive, MethodKind::Password]
        {
            if !methods.contains(&method) || self.tried.contains(&method) {
                continue;
            }
            self.tried.push(method);
            let next = match method {
                MethodKind::PublicKey => self.keys().await?,
                MethodKind::Password => self.password().await?,
                _ => self.interview().await?,
            };
            if !matches!(next, Next::No) {
                return Ok(next);
            }
        }
        Ok(Next::No)
    }

    /// Certificates, the agent's keys and key files, in this order.
    async fn keys(&mut self) -> Result<Next> {
        let hash = self.handle.best_supported_rsa_hash().await.map_err(failure)?;
        // Without a word from the server: what all servers of the last ten years have.
        let hash = hash.unwrap_or(Some(HashAlg::Sha512));
        let files = self.login.key_files();
        let mut offered = Vec::new();
        if let Some(socket) = &self.login.agent {
            let next = self.agent(socket, hash, &files, &mut offered).await?;
            if !matches!(next, Next::No) {
                return Ok(next);
            }
        }
        for file in &files {
            let next = self.key_file(file, hash, &offered).await?;
            if !matches!(next, Next::No) {
                return Ok(next);
            }
        }
        Ok(Next::No)
    }

    async fn agent(
        &mut self,
        socket: &Path,
        hash: Option<HashAlg>,
        files: &[PathBuf],
        offered: &mut Vec<PublicKey>,
    ) -> Result<Next> {
        let Ok(agent) = AgentClient::connect_uds(socket).await else {
            report::verbose(format_args!("no SSH agent at {}", socket.display()));
            return Ok(Next::No);
        };
        let mut agent = agent.dynamic();
        let mut identities = match agent.request_identities().await {
            Ok(identities) => identities,
            Err(error) => {
                report::verbose(format_args!("the SSH agent lists no keys: {error}"));
                return Ok(Next::No);
            }
        };
        let known: Vec<PublicKey> = files.iter().filter_map(|file| public_half(file)).collect();
        let position = |identity: &AgentIdentity| {
            let key = identity.public_key();
            known.iter().position(|known| known.key_data() == key.key_data())
        };
        if self.login.identities_only {
            identities.retain(|identity| position(identity).is_some());
        }
        // Those that were asked for come first, in their order.
        identities.sort_by_key(|identity| position(identity).unwrap_or(usize::MAX));
        for identity in identities {
            offered.push(identity.public_key().into_owned());
            report::verbose(format_args!(
                "offering the agent's key {} {}",
                fingerprint(&identity.public_key()),
                identity.comment()
            ));
            let user = &self.login.user;
            let hash = hash_for(&identity.public_key(), hash);
            let result = match &identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let key = key.clone();
                    self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let cert = certificate.clone();
                    self.handle.authenticate_certificate_with(user, cert, hash, &mut agent).await
                }
            };
            match result {
                Ok(result) => match Next::from(result) {
                    Next::No => {}
                    next => return Ok(next),
                },
                Err(error) => report::warn(format_args!("the SSH agent cannot sign: {error}")),
            }
        }
        Ok(Next::No)
    }

    async fn key_file(
        &mut self,
        file: &Path,
        hash: Option<HashAlg>,
        offered: &[PublicKey],
    ) -> Result<Next> {
        let text = match keyfile::read(file) {
            Ok(text) => text,
            // Only what the user has named has to be there.
            Err(error) if self.login.is_default(file) && error.kind() == Kind::Usage => {
                return Ok(Next::No);
            }
            Err(error) => return Err(error),
        };
        let mut signer = KeyFile { file, login: self.login, key: None, text };
        let public = match keyfile::decode(&signer.text, None) {
            Ok(key) => signer.key.insert(key).public_key().clone(),
            // The passphrase is asked for once the server would take the key.
            Err(error) if is_locked(&error, &signer.text) => match public_half(file) {
                Some(public) => public,
                None => signer.open().await?.public_key().clone(),
            },
            Err(error) => return Err(keyfile::unusable(file, &error)),
        };
        let certificate = self.login.certificate_for(file);
        if is_offered(offered, &public) && certificate.is_none() {
            return Ok(Next::No);
        }
        let (user, hash) = (&self.login.user, hash_for(&public, hash));
        if let Some(certificate) = certificate {
            report::verbose(format_args!("offering {} with its certificate", file.display()));
            let handle = &mut self.handle;
            let result =
                handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await;
            let next = Next::from(result.map_err(|error| error.0)?);
            if !matches!(next, Next::No) {
                return Ok(next);
            }
        }
        report::verbose(format_args!("offering {}", file.display()));
        let result = self.handle.authenticate_publickey_with(user, public, hash, &mut signer).await;
        result.map(Next::from).map_err(|error| error.0)
    }

    async fn password(&mut self) -> Result<Next> {
        let user = &self.login.user;
        for _ in 0..ATTEMPTS {
            let Some(password) = self.login.password(&self.login.prompt()).await? else { break };
            let result = self.handle.authenticate_password(user, password.as_str()).await;
            match Next::from(result.map_err(failure)?) {
                Next::No if self.login.password_file.is_none() => {
                    report::note(format_args!("permission denied, please try again"));
                }
                next => return Ok(next),
            }
        }
        Ok(Next::No)
    }

    async fn interview(&mut self) -> Result<Next> {
        let user = self.login.user.clone();
        for _ in 0..ATTEMPTS {
            let mut step = self.handle.authenticate_keyboard_interactive_start(&user, None).await;
            loop {
                match step.map_err(failure)? {
                    Interview::Success => return Ok(Next::In),
                    Interview::Failure { remaining_methods, partial_success: true } => {
                        return Ok(Next::More(remaining_methods));
                    }
                    Interview::Failure { .. } => break,
                    Interview::InfoRequest { name, instructions, prompts } => {
                        for text in [name, instructions].iter().filter(|text| !text.is_empty()) {
                            report::note(format_args!("{}", report::printable(text)));
                        }
                        let Some(answers) = self.answers(&prompts).await? else {
                            return Ok(Next::No);
                        };
                        step = self.handle.authenticate_keyboard_interactive_respond(answers).await;
                    }
                }
            }
            if self.login.password_file.is_some() || !self.login.can_ask() {
                break;
            }
        }
        Ok(Next::No)
    }

    async fn answers(&self, prompts: &[Prompt]) -> Result<Option<Vec<String>>> {
        let mut answers = Vec::new();
        for Prompt { prompt, echo } in prompts {
            let answer = match echo {
                // The one thing that is kept secret is the password.
                false => self.login.password(&report::printable(prompt)).await?,
                true if self.login.can_ask() => Some(ask(&report::printable(prompt), false).await?),
                true => None,
            };
            let Some(answer) = answer else { return Ok(None) };
            answers.push(answer.to_string());
        }
        Ok(Some(answers))
    }

    fn refused(&self, methods: &MethodSet) -> Error {
        let takes = methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ");
        let what = match takes.is_empty() {
            true => format!("{} is not let in", self.login.user),
            false => format!("{} is not let in (the server takes {takes})", self.login.user),
        };
        let error = Error::new(Kind::Auth, what);
        if methods.contains(&MethodKind::PublicKey) && self.login.key_files().is_empty() {
            return error.hint("name a key with -i FILE");
        }
        match methods.contains(&MethodKind::Password) && !self.login.can_ask() {
            true => {
                error.hint("there is no terminal to ask for a password at; see --password-file")
            }
            false => error.hint("-v shows which keys were offered"),
        }
    }
}

/// A key that is unlocked when the server wants it to sign.
struct KeyFile<'a> {
    file: &'a Path,
    login: &'a Login,
    text: Zeroizing<String>,
    /// None while it is locked.
    key: Option<PrivateKey>,
}

impl KeyFile<'_> {
    async fn open(&mut self) -> Result<&PrivateKey> {
        let key = match self.key.take() {
            Some(key) => key,
            None => self.login.open(self.file, &self.text).await?,
        };
        Ok(self.key.insert(key))
    }
}

/// An error of ours, inside russh.
struct Ours(Error);

impl From<SendError> for Ours {
    fn from(_: SendError) -> Self {
        Self(super::gone())
    }
}

impl Signer for KeyFile<'_> {
    type Error = Ours;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Ours> {
        let file = self.file;
        let key = self.open().await.map_err(Ours)?;
        let signed: Result<ssh_key::Signature, _> = match key.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&data),
            pair => pair.try_sign(&data),
        };
        let unsigned = || Ours(Error::new(Kind::Auth, "the key cannot sign").at(file.display()));
        let signature = signed.map_err(|_| unsigned())?;
        let blob = Vec::<u8>::try_from(signature).map_err(|_| unsigned())?;
        blob.encode(&mut data).map_err(|_| unsigned())?;
        Ok(data)
    }
}

/// Whether a key has a passphrase. Of PKCS#8 only the first line tells.
fn is_locked(error: &russh::keys::Error, text: &str) -> bool {
    matches!(error, russh::keys::Error::KeyIsEncrypted)
        || text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

fn is_offered(offered: &[PublicKey], key: &PublicKey) -> bool {
    offered.iter().any(|offered| offered.key_data() == key.key_data())
}

/// RSA keys sign with SHA-2, or not at all.
fn hash_for(key: &PublicKey, best: Option<HashAlg>) -> Option<HashAlg> {
    match key.algorithm().is_rsa() {
        true => Some(best.unwrap_or(HashAlg::Sha512)),
        false => None,
    }
}

/// The public key of a private one, as far as it can be read without a passphrase.
pub(super) fn public_half(file: &Path) -> Option<PublicKey> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let inside = || {
        let text = std::fs::read_to_string(file).ok()?;
        PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone())
    };
    load_public_key(beside).ok().or_else(inside).or_else(|| load_public_key(file).ok())
}

/// `SHA256:…`, as OpenSSH shows it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
