"""Which files hold what must not leave with an image: by their names, and by what is in them.

The first table is the filter of the AMI tools (AWS, "ec2-bundle-vol", --no-filter), whose globs are
rsync's: one without "/" is for a name, one with it for the end of a path. The second has what that
filter forgets; it is not for what packages bring, which everybody has. Its names count with a
backup's ending, too: .bak, .old, .1, -20240101.gz, .rpmsave.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from imgforge.volume.content import Content


class Secret(StrEnum):
    """Why a file is left out by the filter."""

    PRIVATE_KEY = "private-key"
    LOGIN_KEY = "authorized-keys"
    CREDENTIALS = "credentials"
    HISTORY = "history"
    EDITOR = "editor"


_ORIGINAL = {
    Secret.EDITOR: ("#*#", ".#*", "*.sw", "*.swo", "*.swp", "*~"),
    Secret.PRIVATE_KEY: ("*.pem", "*.priv", "*id_rsa*", "*id_dsa*", "*.gpg", "*.jks"),
    Secret.LOGIN_KEY: (".ssh/authorized_keys",),
    Secret.HISTORY: (".bash_history",),
}
_KEYS = """
    *id_ed25519* *id_ecdsa* *id_xmss* *.ppk *.p12 *.pfx *.kdbx *.kdb *.keytab *.jceks *.bcfks
    ssh_host_*_key dropbear_*_host_key .gnupg/private-keys-v1.d .gnupg/secring* etc/wireguard/*.conf
    etc/letsencrypt/accounts .config/sops/age/keys.txt .config/age/keys.txt .step/secrets
"""
_CREDENTIALS = """
    .aws/credentials .aws/cli/cache .aws/sso/cache .aws/login/cache .awssecret etc/boto.cfg .boto
    .config/gcloud .gcloud application_default_credentials.json .azure .oci .aliyun/config.json
    .bluemix .ibmcloud .config/doctl .config/linode-cli .config/hcloud/cli.toml .config/scw
    .config/openstack/clouds.yaml .config/openstack/secure.yaml .euca .eucarc .fog
    aws_credential_file .s3cfg .passwd-s3fs etc/passwd-s3fs .mc/config.json .mcli/config.json .minio
    .config/rclone/rclone.conf .rclone.conf .s3ql/authinfo2 .dropbox
    .netrc _netrc .authinfo .git-credentials .config/git/credentials .config/gh/hosts.yml
    .config/hub .config/glab-cli/config.yml .config/tea .config/lab .subversion/auth .cvspass
    .pgpass .pgpass.conf .mylogin.cnf .databrickscfg .snowsql/config .snowflake .smbcredentials
    .smbcred .cifscredentials .credentials .davfs2/secrets etc/davfs2/secrets etc/ppp/*-secrets
    .docker/config.json .dockercfg containers/auth.json .kube/config
    .helm/repository/repositories.yaml
    .vault-token .vault_pass .vault_pass.txt .vault_password .terraform.d/credentials.tfrc.json
    .terraformrc .pulumi/credentials.json .config/heroku .config/netlify .config/flyctl
    .config/ngrok/ngrok.yml .ngrok2/ngrok.yml .cloudflared .config/stripe .config/configstore
    .config/jfrog .jfrog .kaggle/kaggle.json .huggingface/token .cache/huggingface/token
    .pypirc .composer/auth.json .config/composer/auth.json .gem/credentials .bundle/config
    .cargo/credentials .cargo/credentials.toml .sbt/.credentials .ivy2/.credentials
    .local/share/keyrings .gnome2/keyrings .local/share/kwalletd .config/op .op .password-store
    .config/Bitwarden* .lpass .msmtprc .fetchmailrc .esmtprc .erlang.cookie
"""
_HISTORIES = """
    .*_history* .*-history* .history .history.* .history-* .histfile* .zhistory* .*_hist .Rhistory*
    fish/fish_history xonsh/xonsh-history* .xonsh-history* nushell/history.* .elvish/db
    elvish/db.bolt zsh/history bash/history .zsh_sessions .bash_sessions .netrwhist
    .local/share/*/*history* .local/state/*/*history* .local/state/*history* .local/share/*history*
    .config/*/history .cache/*/history .cache/*history PSReadLine/ConsoleHost_history.txt
    .ipython/profile_*/history.sqlite .dbshell .mongodb/mongosh/*_history .lftp/rl_history
    .lesshst* .local/state/lesshst .local/share/lesshst .viminf* .local/state/nvim/shada
    .local/share/nvim/shada .julia/logs/repl_history.jl .ghc/ghci_history
"""
_FORGOTTEN = {
    Secret.PRIVATE_KEY: tuple(_KEYS.split()),
    Secret.LOGIN_KEY: (".ssh/authorized_keys", ".ssh/authorized_keys2"),
    Secret.CREDENTIALS: tuple(_CREDENTIALS.split()),
    Secret.HISTORY: tuple(_HISTORIES.split()),
}
# Settings that may have a password in them.
_SETTINGS = """
    .npmrc .my.cnf .aws/config .yarnrc .yarnrc.yml .curlrc .wgetrc .env .env.* .envrc .hgrc
    .m2/settings.xml .m2/settings-security.xml .config/pip/pip.conf .pip/pip.conf etc/pip.conf
    .config/hg/hgrc .gradle/gradle.properties .nuget/NuGet/NuGet.Config NuGet/NuGet.Config
    .config/pypoetry/auth.toml .condarc .config/msmtp/config .mbsyncrc .offlineimaprc .muttrc
"""
_TRUSTED_PLACES = re.compile(r"(?:etc|usr|lib[^/]*|opt|snap|var/lib)/")
_PACKAGED = re.compile(r"(?:usr/(?!local/)|lib[^/]*/)")
_KEY_NAME = re.compile(r"\.(?:key|pk8|p8|der|crt|cer)\Z")


def _translate(glob: str) -> str:
    return "".join("[^/]*" if letter == "*" else re.escape(letter) for letter in glob)


def _compile(globs: dict[Secret, tuple[str, ...]], *, end: str = "") -> re.Pattern[str]:
    groups = "|".join(
        f"(?P<{kind.name}>(?:{'|'.join(map(_translate, several))}){end})"
        for kind, several in globs.items()
    )
    return re.compile(rf"(?:\A|.*/)(?:{groups})\Z", re.DOTALL)


_BACKUP = (
    r"(?:[ .~_-]+(?:(?i:bak|backup|bk|back|old|orig|original|saved?|sav|copy|\(copy\)|new|te?mp"
    r"|prev|previous|last|local|rpmsave|rpmnew|rpmorig|dpkg-[a-z]+|ucf-[a-z]+|gz|xz|bz2|zst|zip|lock)"
    r"(?![A-Za-z0-9])|[0-9][^/]*))*+~?"
)
_ORIGINAL_NAMES = _compile(_ORIGINAL)
_FORGOTTEN_NAMES = _compile(_FORGOTTEN, end=_BACKUP)
_SETTINGS_NAMES = _compile({Secret.CREDENTIALS: tuple(_SETTINGS.split())}, end=_BACKUP)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A file is left out as `kind` unless, or only if, its content says so.

    `clears` returns whether content makes it harmless. None: nothing does.
    """

    kind: Secret
    clears: Callable[[Content], bool] | None = None


def suspect(path: str) -> Suspicion | None:
    """Return what a path's name makes of it; None for one that is harmless by its name."""
    is_packaged = _PACKAGED.match(path) is not None
    match = _ORIGINAL_NAMES.match(path) or (None if is_packaged else _FORGOTTEN_NAMES.match(path))
    if match is not None and match.lastgroup is not None:
        kind = Secret[match.lastgroup]
        # Dropping what everybody may know breaks an image: no TLS without /etc/ssl/certs, no
        # packages without /usr/share/keyrings. A certificate is no secret, nor a public key.
        if _TRUSTED_PLACES.match(path) is not None:
            if path.endswith(".pem"):
                return Suspicion(kind, lambda content: content.is_public_pem)
            if path.endswith(".gpg"):
                return Suspicion(kind, lambda content: content.is_public_openpgp)
        return Suspicion(kind)
    if not is_packaged and _SETTINGS_NAMES.match(path) is not None:
        return Suspicion(
            Secret.CREDENTIALS,
            lambda content: not content.may_have_password and hidden(path, content) is None,
        )
    if _KEY_NAME.search(path) is not None:  # of a package, too: as the original's *.pem
        return Suspicion(
            Secret.PRIVATE_KEY,
            lambda content: not content.has_private_key and not content.begins_as_der_key,
        )
    return None


def is_searched(path: str) -> bool:
    """Tell whether a file is looked into though its name is harmless: not what packages bring."""
    return _PACKAGED.match(path) is None


def hidden(path: str, content: Content) -> Secret | None:
    """Return what a file of a harmless name hides: a private key, or a cloud's secret key."""
    if not is_searched(path):
        return None
    if content.has_private_key:
        return Secret.PRIVATE_KEY
    return Secret.CREDENTIALS if content.has_aws_secret else None
