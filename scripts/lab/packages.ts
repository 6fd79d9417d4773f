/** Debian packages of the laboratory: of its machine, and of its servers' root. */

export const wanted_suite = 'bookworm'

/** What the laboratory itself runs: command, and the package that has it. */
export const tools: Readonly<Record<string, string>> = {
  mmdebstrap: 'mmdebstrap',
  'systemd-nspawn': 'systemd-container',
  ipmi_sim: 'openipmi',
  ipmitool: 'ipmitool',
  ip: 'iproute2',
  sysctl: 'procps',
  nsenter: 'util-linux',
  ssh: 'openssh-client',
  nc: 'netcat-openbsd',
  curl: 'curl',
  rsync: 'rsync',
}

/** What an installer puts on a server before any role comes. */
export const system: readonly string[] = [
  'systemd-sysv',
  'dbus',
  'udev',
  'openssh-server',
  'python3',
  'python3-apt',
  'ca-certificates',
  'iproute2',
  'iputils-ping',
  'procps',
  'sudo',
  'less',
]

/** What roles install; here so that they find it without a network. A role names its packages all the same. */
export const cached: readonly string[] = [
  'acl',
  'chrony',
  'conntrack',
  'conntrackd',
  'corosync',
  'crmsh',
  'curl',
  'ethtool',
  'fence-agents',
  'iputils-arping',
  'ipmitool',
  'jq',
  'libxml2-utils',
  'logrotate',
  'mdadm',
  'nftables',
  'pacemaker',
  'pacemaker-cli-utils',
  'postgresql',
  'prometheus-node-exporter',
  'psmisc',
  'python3-psycopg2',
  'rasdaemon',
  'resource-agents',
  'resource-agents-paf',
  'rsync',
  'rsyslog',
  'smartmontools',
  'systemd-journal-remote',
  'tcpdump',
  'unattended-upgrades',
  'zstd',
]

/** Services of cached packages, off until a role turns them on. */
export const services_off: readonly string[] = [
  'chrony.service',
  'conntrackd.service',
  'corosync.service',
  'corosync-notifyd.service',
  'logd.service',
  'nftables.service',
  'openipmi.service',
  'ipmievd.service',
  'mdmonitor.service',
  'pacemaker.service',
  'postgresql.service',
  'prometheus-node-exporter.service',
  'ras-mc-ctl.service',
  'rasdaemon.service',
  'rsync.service',
  'rsyslog.service',
  'smartmontools.service',
  'systemd-journal-remote.socket',
  'systemd-journal-upload.service',
  'unattended-upgrades.service',
]
