"""What network, metadata, cloud-init and SSH servers say when they fail.

Texts come from busybox 1.35, ISC dhclient 4.4, ifupdown 0.8, cloud-init 22.4, OpenSSH 9.2,
dropbear 2022.83, systemd 252, and guest/overlays/minimal.
"""

import re

from imgforge.acceptance.record import StageName
from imgforge.acceptance.sign import Effect, Sign, program_text

_NETWORK, _METADATA = StageName.NETWORK, StageName.METADATA
_CLOUD_INIT, _SSH = StageName.CLOUD_INIT, StageName.SSH
# systemd cuts `unit - description` in its middle, with an ellipsis, to the console's width.
_FAILED = r"(?:\[FAILED\]|systemd\[1\]:) *Failed to start "
_MODULE_HINT = (
    "Put the module into the root tree or the initrd (the kernel's package has them; exclude_paths "
    "of the recipe may have taken it away), and run depmod."
)
_INTERFACE_HINT = (
    "The machine has one network interface: check that its driver is there (virtio_net here; ena, "
    "ixgbevf, xen-netfront on EC2), and the name that the network's configuration gives it "
    "(`net.ifnames=0` keeps eth0)."
)
_DHCP_HINT = (
    "Check that a DHCP client is installed and asks on the machine's interface, and that its "
    "script may set the address."
)
_METADATA_HINT = (
    "Check that the guest has an address (is a DHCP client installed?), its routes and its "
    "firewall: http://169.254.169.254/ is answered on its first interface."
)
_DATASOURCE_HINT = (
    "Let cloud-init find EC2: keep Ec2 in datasource_list (/etc/cloud/cloud.cfg.d), and bring up "
    "the network before it."
)
_SSHD_HINT = "Try `sshd -t` in the root tree: its configuration, host keys and /run/sshd."
_HOST_KEY_HINT = (
    "Let the first boot make the host keys before the server starts (`ssh-keygen -A`, cloud-init, "
    "dropbearkey), then print them."
)

NETWORK: tuple[Sign, ...] = (
    *(
        Sign(
            id="module-missing",
            needle=needle,
            pattern=program_text(text),
            stage=stage,
            meaning="a kernel module is missing",
            hint=_MODULE_HINT,
            effect=Effect.CAUSE,
        )
        for stage, needle, text in (
            (
                StageName.INITRAMFS,
                "imgforge-initramfs: module",
                r"module \S+ does not load: ",
            ),
            (
                _NETWORK,
                "odule ",
                r"(?:FATAL: Module \S+ not found|module \S+ not found|Failed to find module '\S+'"
                r"|can't load module \S+ \(\S+\): No such file)",
            ),
        )
    ),
    *(
        Sign(
            id="no-network-interface",
            needle=needle,
            pattern=program_text(text),
            stage=_NETWORK,
            meaning="the machine has no network interface of the name it looks for",
            hint=_INTERFACE_HINT,
            effect=effect,
            until=_NETWORK,
        )
        for effect, needle, text in (
            (Effect.SYMPTOM, "imgforge-init: network", r"network: no interface"),
            (Effect.CAUSE, "No broadcast interfaces found", r"No broadcast interfaces found"),
            (
                Effect.CAUSE,
                "annot find device",
                r"Cannot find device \"(?:eth|en|wan)\w*\"",
            ),
            (
                Effect.CAUSE,
                "No such device",
                r"(?:\w+: )?(?:SIOCG?S?IF\w+: |ERROR while getting interface flags: )"
                r"No such device",
            ),
        )
    ),
    *(
        Sign(
            id="no-dhcp",
            needle=needle,
            pattern=program_text(text),
            stage=_NETWORK,
            meaning="the machine got no address by DHCP",
            hint=_DHCP_HINT,
            effect=effect,
            until=_NETWORK,
        )
        for effect, needle, text in (
            (
                Effect.SYMPTOM,
                "imgforge-init: network",
                r"network: \S+ got no address by DHCP",
            ),
            (Effect.SYMPTOM, "no lease, failing", r"no lease, failing"),
            (Effect.SYMPTOM, "No DHCPOFFERS received", r"No DHCPOFFERS received\."),
            (Effect.SYMPTOM, "Determining IP information", r"Determining IP .*\.\.\. *failed"),
            (Effect.CAUSE, "no lease, forking", r"no lease, forking to background"),
            (Effect.CAUSE, "o bring up ", r"[Ff]ailed to bring up (?:eth|en)\w+"),
        )
    ),
    Sign(
        id="network-service-failed",
        needle="Failed to start ",
        pattern=re.compile(
            _FAILED + r"(?:(?:networking|network|systemd-networkd\S*|NetworkManager\S*)[.\u2026]"
            r"|.*(?:Raise network interfaces|Network Configuration|Network Manager))"
        ),
        stage=_NETWORK,
        meaning="the service that brings up the network failed",
        hint="Check the network's configuration: one interface, with the name it has here (eth0 "
        "with `net.ifnames=0`), by DHCP.",
        effect=Effect.CAUSE,
        until=_NETWORK,
    ),
)

# cloud-init's url_helper counts the seconds; our service answers in the first.
_CALLING = (
    r"url_helper\.py\[\w+\]: Calling '.*' failed \[{seconds}/\d+s\]: "
    r".*(?:169\.254\.169\.254|fd00:ec2::254)"
)
METADATA: tuple[Sign, ...] = tuple(
    Sign(
        id="metadata-unreachable",
        needle=needle,
        pattern=pattern,
        stage=_METADATA,
        meaning="the machine could not read its metadata",
        hint=_METADATA_HINT,
        effect=effect,
        until=until,
    )
    for effect, until, needle, pattern in (
        (
            Effect.SYMPTOM,
            None,
            "169.254.169.254 gave none",
            program_text(r"key: 169\.254\.169\.254 gave none"),
        ),
        (
            Effect.SYMPTOM,
            _METADATA,
            "url_helper.py[",
            re.compile(_CALLING.format(seconds=r"(?:[6-9]\d|\d{3,})")),
        ),
        (
            Effect.CAUSE,
            None,
            "url_helper.py[",
            re.compile(_CALLING.format(seconds=r"\d+")),
        ),
        (
            Effect.CAUSE,
            None,
            "Giving up on ",
            re.compile(r"DataSourceEc2\.py\[\w+\]: Giving up on md "),
        ),
    )
)

CLOUD_INIT: tuple[Sign, ...] = (
    *(
        Sign(
            id="cloud-init-no-datasource",
            needle=needle,
            pattern=re.compile(text),
            stage=_CLOUD_INIT,
            meaning="cloud-init found no data source",
            hint=_DATASOURCE_HINT,
            effect=Effect.SYMPTOM,
        )
        for needle, text in (
            ("No instance datasource found", r"\w+\.py\[\w+\]: No instance datasource found"),
            (
                "DataSourceNone",
                r"Cloud-init v\. \S+ finished at .*[Dd]atasource DataSourceNone\b",
            ),
            ("Used fallback datasource", r"\w+\.py\[\w+\]: Used fallback datasource"),
        )
    ),
    Sign(
        id="cloud-init-failed",
        needle="Failed to start ",
        pattern=re.compile(_FAILED + r"(?:cloud-(?:init|config|final)|.*cloud-init)"),
        stage=_CLOUD_INIT,
        meaning="cloud-init ended with an error",
        hint="See cloud-init's own lines above, and /var/log/cloud-init.log.",
        effect=Effect.CAUSE,
    ),
    Sign(
        id="cloud-config-unreadable",
        needle="oud",
        pattern=re.compile(
            r"\w+\.py\[\w+\]: (?:Failed loading yaml blob|Invalid cloud-config provided"
            r"|Failed at merging in cloud config)"
        ),
        stage=_CLOUD_INIT,
        meaning="cloud-init could not read its configuration",
        hint="Check the YAML in /etc/cloud and in the user data (`cloud-init schema`).",
        effect=Effect.CAUSE,
    ),
)

SSH: tuple[Sign, ...] = (
    Sign(
        id="sshd-missing",
        needle="can't run '",
        pattern=re.compile(r"^\s*can't run '\S*(?:dropbear|sshd)'"),
        stage=_SSH,
        meaning="init could not start the SSH server",
        hint="Install the SSH server where inittab names it, with its libraries.",
    ),
    Sign(
        id="no-host-keys",
        needle="hostkeys available",
        pattern=program_text(
            r"(?:sshd: no hostkeys available|(?:Early exit: )?No hostkeys available\.)"
        ),
        stage=_SSH,
        meaning="the SSH server has no host keys",
        hint=_HOST_KEY_HINT,
        effect=Effect.CAUSE,
        fatal_after=3,
    ),
    Sign(
        id="no-host-keys",
        needle="imgforge-init: host key",
        pattern=program_text(r"host key: \w+ cannot be made"),
        stage=_SSH,
        meaning="the SSH server has no host keys",
        hint=_HOST_KEY_HINT,
        effect=Effect.CAUSE,
    ),
    *(
        Sign(
            id="sshd-failed",
            needle=needle,
            pattern=re.compile(text),
            stage=_SSH,
            meaning="the SSH server does not start",
            hint=_SSHD_HINT,
            effect=effect,
            fatal_after=fatal_after,
        )
        for effect, fatal_after, needle, text in (
            (
                Effect.CAUSE,
                3,
                "Failed to start ",
                _FAILED + r"(?:(?:ssh|sshd|dropbear)[.\u2026]|.*Open(?:BSD Secure Shell|SSH) )",
            ),
            (
                Effect.SYMPTOM,
                None,
                "Start request repeated",
                r"systemd\[1\]: (?:ssh|sshd|dropbear)\.service: Start request repeated too quickly",
            ),
            (
                Effect.CAUSE,
                None,
                "onfiguration option",
                r"sshd_config\S*(?: line \d+|: line \d+): Bad configuration option|"
                r"sshd_config\S*: terminating, \d+ bad configuration option",
            ),
            (
                Effect.CAUSE,
                None,
                "privilege separation",
                r"Missing privilege separation directory: ",
            ),
            (Effect.CAUSE, 3, "Failed listening on ", r"Failed listening on '\S+': "),
        )
    ),
    Sign(
        id="authorized-keys-mode",
        needle="owne",
        pattern=re.compile(
            r"Authentication refused: bad ownership or modes for "
            r"|\S+ must be owned by user or root, and not writable by group or others"
        ),
        stage=_SSH,
        meaning="others may write to the user's folder, .ssh or authorized_keys",
        hint="Give the home, .ssh and authorized_keys to the user, with modes 0755, 0700 and 0600.",
        effect=Effect.CAUSE,
    ),
    Sign(
        id="login-user-missing",
        needle="user",
        pattern=re.compile(
            r"Invalid user \S+ from \S+ port|Login attempt for nonexistent user"
            r"|input_userauth_request: invalid user "
        ),
        stage=_SSH,
        meaning="the user who is to log in does not exist",
        hint="Check expect.login_user of the recipe against the image's /etc/passwd.",
        effect=Effect.CAUSE,
    ),
    Sign(
        id="login-user-locked",
        needle="ser ",
        pattern=re.compile(
            r"User '\S+' has invalid shell, rejected"
            r"|User \S+ (?:from \S+ )?not allowed because (?:shell |account is locked|not listed)"
        ),
        stage=_SSH,
        meaning="the user who is to log in may not",
        hint="Check the user's shell (it must exist, and stand in /etc/shells), that the account "
        "is not locked, and AllowUsers in sshd_config.",
        effect=Effect.CAUSE,
    ),
)

# Whatever program says so: its name is not known.
ROOT_FILE_SYSTEM: tuple[Sign, ...] = (
    Sign(
        id="disk-full",
        needle="No space left on device",
        pattern=re.compile(r"(?::|\[Errno 28\]) No space left on device(?:\s*$|[:.,')])"),
        stage=None,
        meaning="a file system is full",
        hint="Raise disk.size in the recipe, or take files out of the root tree.",
        effect=Effect.CAUSE,
    ),
    Sign(
        id="root-read-only",
        needle="ead-only",
        pattern=re.compile(
            r": Read-only file system\s*$|the root file system stays read-only"
            r"|couldn't remount RDWR"
        ),
        stage=None,
        meaning="the root file system can only be read",
        hint="Let init mount it again for writing (`rw` in /etc/fstab or on the command line), and "
        "check the file system's features against the kernel.",
        effect=Effect.CAUSE,
    ),
)
