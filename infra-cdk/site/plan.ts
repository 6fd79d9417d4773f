/**
 * The plan of a site: every choice made, nothing left to decide. Plain JSON, the same bytes each time, no secret in it
 * (secrets are named in `secrets`, made at the first deploy and kept in files of their own).
 * Made by `planOf(site)`; read by the renderers, the cluster model, the Ansible inventory and the laboratory.
 * What is `managed` is made by our roles; what is not is delivered ready-made by the machine, and then only used.
 */

/** What a server does. Every server has one role. */
export const roles = ['gateway', 'archive', 'server'] as const
export type Role = (typeof roles)[number]

/** A site of one machine without racks: what its agent is told. */
export interface MachinePlan {
  readonly name: string
  /** First of the environment's ports. */
  readonly base_port: number
  /** How many of each process type. */
  readonly processes: Record<string, number>
  /** Options of a process type over its defaults. */
  readonly options: Record<string, Record<string, unknown>>
  /** Channels that are there from the first deploy on. */
  readonly channels: ChannelPlan[]
}

export interface Plan {
  readonly site: string
  /** Grows when a field changes its meaning. */
  readonly version: 1
  /** Host names are under it: `gw1.lab.internal`. */
  readonly domain: string
  readonly networks: readonly NetworkPlan[]
  readonly virtual_addresses: readonly VirtualAddressPlan[]
  readonly feeds: readonly FeedPlan[]
  readonly racks: readonly RackPlan[]
  readonly servers: readonly ServerPlan[]
  readonly cluster: ClusterPlan
  readonly firewall: FirewallPlan
  readonly distribution: DistributionPlan
  readonly environment: EnvironmentPlan
  readonly management: ManagementPlan
  readonly host: HostSettingsPlan
  /** How blank servers are installed; null: they come installed. */
  readonly install: InstallPlan | null
  readonly secrets: readonly SecretPlan[]
}

/**
 * One broadcast domain. `cluster-a` and `cluster-b` carry one Corosync (knet) link each, `lan` the internal services,
 * `external` the devices and clients, `bmc` the servers' management controllers.
 */
export interface NetworkPlan {
  readonly name: string
  /** IPv4, `10.77.10.0/24`. */
  readonly cidr: string
  readonly mtu: number
  /** Tag on the switches' trunks; null: untagged. */
  readonly vlan: number | null
  /** Which legs carry it: both in a bond, or one leg alone. */
  readonly path: 'bond' | 'leg-a' | 'leg-b'
  /** Address of the router to the outside on this network; null: it has none. */
  readonly router: string | null
  /** Where it enters the site from outside (the provider's cables); empty: it is the site's own. */
  readonly uplinks: readonly { readonly provider: string; readonly switch: string; readonly port: number }[]
}

/** An address that moves between the gateways (`external`, `internal`) or the database servers (`database`). */
export interface VirtualAddressPlan {
  readonly name: string
  readonly purpose: 'external' | 'internal' | 'database'
  readonly network: string
  readonly address: string
  readonly prefix: number
  /** Device that gets it, the same on every host of `role`. */
  readonly device: string
  readonly role: Role
}

/** An independent supply of electricity. */
export interface FeedPlan {
  readonly name: string
  /** For the operator: breaker, UPS. */
  readonly source: string
}

export interface RackPlan {
  readonly name: string
  /** Height in rack units; unit 1 is at the bottom. */
  readonly units: number
  /** For the operator: room, row, place. */
  readonly position: string
  readonly switches: readonly SwitchPlan[]
  readonly pdus: readonly PduPlan[]
}

export interface SwitchPlan {
  readonly name: string
  /** `a` carries every server's first leg, `b` the second. */
  readonly side: 'a' | 'b'
  readonly unit: number
  readonly ports: number
  readonly power: readonly OutletPlan[]
  /** Cables to other switches. */
  readonly trunks: readonly { readonly port: number; readonly to: PortPlan }[]
}

export interface PduPlan {
  readonly name: string
  readonly feed: string
  readonly outlets: number
}

export interface PortPlan {
  readonly switch: string
  readonly port: number
}

export interface OutletPlan {
  /** Name of the power supply: `psu1`. */
  readonly supply: string
  readonly pdu: string
  readonly outlet: number
  /** Feed of the PDU, said again so that nobody has to look it up. */
  readonly feed: string
}

export interface ServerPlan {
  readonly name: string
  /** Full name. */
  readonly fqdn: string
  readonly rack: string
  /** Lowest unit it takes. */
  readonly unit: number
  readonly height: number
  readonly role: Role
  /** As on the labels of its modules, GiB; null: it is not compared. */
  readonly memory_gb: number | null
  readonly firmware: Firmware
  /** Whether its hardware resets it when its kernel hangs. */
  readonly watchdog: boolean
  /** How Ansible reaches it. */
  readonly access: { readonly address: string; readonly port: number; readonly user: string; readonly secret: string }
  readonly nics: readonly NicPlan[]
  readonly bond: BondPlan
  /** One entry a network, with the device that carries its address. */
  readonly interfaces: readonly InterfacePlan[]
  /** Address of the default route: the outside's router for gateways, the internal virtual address for the others. */
  readonly default_gateway: string | null
  readonly drives: readonly DrivePlan[]
  readonly raid: RaidPlan
  readonly power: readonly OutletPlan[]
  readonly bmc: BmcPlan
}

/** What starts a server's system: decides which boot loader its drives get. */
export const firmwares = ['bios', 'uefi'] as const
export type Firmware = (typeof firmwares)[number]

/** How the machine that deploys installs blank servers over `lan`. */
export interface InstallPlan {
  /** Its own address on `lan`: DHCP, TFTP and HTTP are served there while servers are looked at and installed. */
  readonly address: string
  /** TCP port of its HTTP service. */
  readonly port: number
  /** Arguments of the kernel, of the image in memory and of the installed system. */
  readonly kernel_args: string
  /** Debian packages on every server besides those of the roles, for example firmware of network cards. */
  readonly packages: readonly string[]
}

/** A port of the server with its cable. */
export interface NicPlan {
  readonly name: string
  readonly mac: string
  readonly link: PortPlan
  readonly speed_mbps: number
}

export interface BondPlan {
  readonly name: string
  readonly mode: 'active-backup' | '802.3ad'
  /** Names of NICs; the first is the preferred one. */
  readonly members: readonly string[]
  readonly primary: string
  readonly monitoring: BondMonitoring
  /** False: the machine delivers the bond ready-made. */
  readonly managed: boolean
}

export type BondMonitoring =
  | { readonly kind: 'mii'; readonly interval_ms: number }
  /** Finds ports that fail silently, too. */
  | { readonly kind: 'arp'; readonly interval_ms: number; readonly targets: readonly string[] }

export interface InterfacePlan {
  readonly network: string
  /** Name of the device with the address: `bond0`, `bond0.20`, `eth0.31`. */
  readonly device: string
  /** What it stands on: the bond or a NIC. Equal to `device` when untagged. */
  readonly parent: string
  readonly vlan: number | null
  readonly mtu: number
  readonly address: string
  readonly prefix: number
  /** False: the machine delivers the device ready-made; its address is set by our roles all the same. */
  readonly managed: boolean
}

export interface DrivePlan {
  readonly bay: number
  readonly serial: string
  readonly size_gb: number
}

/** The mirror of the two system drives (MD RAID-1). */
export interface RaidPlan {
  readonly name: string
  readonly level: 1
  /** Serials of its drives. */
  readonly members: readonly string[]
  /** False: the machine delivers its drive ready-made. */
  readonly managed: boolean
}

export interface BmcPlan {
  readonly user: string
  /** Name of the password among `secrets`. */
  readonly secret: string
  /** Ways to reach it; two when the controller has two ports. */
  readonly paths: readonly BmcPathPlan[]
}

export interface BmcPathPlan {
  readonly name: string
  readonly address: string
  /** UDP port of IPMI over LAN. */
  readonly port: number
  readonly link: PortPlan
}

/** Corosync's and Pacemaker's facts; the resources follow from virtual addresses, firewall and distribution. */
export interface ClusterPlan {
  readonly name: string
  readonly nodes: readonly ClusterNodePlan[]
  /** Networks of the knet links, in order of link number. */
  readonly links: readonly string[]
  readonly totem: {
    readonly token_ms: number
    readonly token_retransmits: number
    readonly join_ms: number
    readonly consensus_ms: number
    readonly knet_ping_interval_ms: number
    readonly knet_ping_timeout_ms: number
    /** Name of the key among `secrets`. */
    readonly secret: string
  }
  readonly quorum: {
    readonly expected_votes: number
    /** Votes that make a quorum. */
    readonly majority: number
    readonly wait_for_all: boolean
  }
  readonly fencing: {
    readonly timeout_s: number
    readonly action: 'reboot' | 'off'
    readonly devices: readonly FencingDevicePlan[]
    /** Per node the devices of each level; the next level is tried when one fails. */
    readonly levels: readonly { readonly node: string; readonly level: number; readonly devices: readonly string[] }[]
  }
  readonly resources: {
    readonly stickiness: number
    readonly migration_threshold: number
    readonly failure_timeout_s: number
    readonly monitor_interval_s: number
    readonly start_timeout_s: number
    readonly stop_timeout_s: number
  }
}

export interface ClusterNodePlan {
  readonly name: string
  readonly id: number
  readonly role: Role
  readonly votes: number
  /** Address per link, in the order of `links`. */
  readonly addresses: readonly string[]
}

export interface FencingDevicePlan {
  /** `fence-gw1`, or `fence-gw1-b` for a second path. */
  readonly name: string
  readonly node: string
  readonly agent: 'fence_ipmilan'
  readonly address: string
  readonly port: number
  readonly user: string
  readonly secret: string
  readonly lanplus: boolean
  readonly cipher: number
  readonly privilege: 'administrator' | 'operator'
  /** Head start in a fencing race. */
  readonly delay_s: number
  readonly path: string
}

export interface FirewallPlan {
  /** Ports open to the external network. All else is dropped. */
  readonly services: readonly FirewallServicePlan[]
  /** Opening packets from outside, before conntrack sees them. The total does not hold for sources seen lately. */
  readonly syn: { readonly per_source: RatePlan; readonly total: RatePlan }
  /** A connection that is not established after so long is forgotten. */
  readonly half_open_timeout_s: number
  /** A source that had an established connection within it was seen lately. */
  readonly seen_s: number
  readonly icmp: RatePlan
  readonly conntrack_max: number
  /** Sets that are fed at run time; what is here is in them from the first deploy on. */
  readonly block: readonly string[]
  readonly allow: readonly string[]
  /** Logged drops a second, so that a flood does not fill the log. */
  readonly log_per_second: number
  /** Ways on which the gateways tell each other of connections (conntrackd); the first is used while it works. */
  readonly state_sync: readonly { readonly network: string; readonly multicast: string; readonly port: number }[]
}

export interface RatePlan {
  readonly per_second: number
  /** So many at once. */
  readonly burst: number
}

export interface FirewallServicePlan {
  readonly name: string
  readonly protocols: readonly Transport[]
  readonly ports: PortRange
  /** Open connections of one source address; a flow of datagrams is one. */
  readonly connections_per_source_max: number
  readonly new_per_source: RatePlan
}

export type Transport = 'tcp' | 'udp'

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** Which port of which virtual address goes to which instances. */
export interface DistributionPlan {
  /** Slots that sources are hashed to; each slot points to one living target. */
  readonly slots: number
  readonly services: readonly DistributedServicePlan[]
  /** How the active gateway asks whether a target lives. */
  readonly check: {
    readonly interval_ms: number
    readonly timeout_ms: number
    readonly fall: number
    readonly rise: number
  }
}

export interface DistributedServicePlan {
  readonly name: string
  readonly protocols: readonly Transport[]
  /** Names of virtual addresses it is offered on. */
  readonly on: readonly string[]
  /** Ports stay the same on the way. */
  readonly ports: PortRange
  readonly targets: readonly TargetPlan[]
}

/** A host that serves it; it lives while one of its probes answers. */
export interface TargetPlan {
  readonly host: string
  readonly address: string
  readonly instances: readonly string[]
  /** HTTP `/readyz` of these ports; one that answers 200 is enough. */
  readonly probe_ports: readonly number[]
}

export interface EnvironmentPlan {
  readonly name: string
  /** First of the environment's ports. */
  readonly base_port: number
  readonly instances: readonly InstancePlan[]
  readonly urls: {
    readonly prod: string
    readonly tgctl: string
    readonly mdb: string
    readonly admin: string
    readonly mbus: string
    readonly tg: readonly string[]
    /** Absent: the site has no archive. */
    readonly archive?: string
  }
  readonly postgres: {
    readonly host: string
    readonly port: number
    readonly database: string
    readonly user: string
    readonly secret: string
  }
  /** MDB's store when one machine is not enough; absent: MDB keeps its pages itself. */
  readonly cassandra?: CassandraPlan
  /** Ports that channels may take. */
  readonly device_ports: PortRange
  /** Channels that are there from the first deploy on. */
  readonly channels: readonly ChannelPlan[]
}

/** Apache Cassandra: one node on each of three servers or more. */
export interface CassandraPlan {
  readonly nodes: readonly {
    readonly host: string
    readonly address: string
    readonly rack: string
    readonly memory_mb: number
  }[]
  readonly datacenter: string
  /** Port for clients, and that of the nodes among themselves. */
  readonly port: number
  readonly nodes_port: number
  readonly keyspace: string
  readonly user: string
  /** Names of the passwords among `secrets`: MDB's and the operator's. */
  readonly secret: string
  readonly operator_secret: string
}

/** One running process. `postgres` and `cassandra` are database servers; the other types are those of ADMIN. */
export interface InstancePlan {
  readonly type: string
  /** Unique in the environment: `tg-3`. */
  readonly instance: string
  /** Name of the server. */
  readonly host: string
  /** Address it binds to, and port. */
  readonly address: string
  readonly port: number
  readonly options: Readonly<Record<string, unknown>>
  readonly limits: { readonly memory_mb: number; readonly open_files: number }
}

export interface ChannelPlan {
  readonly name: string
  readonly protocol: string
  readonly port: number
  readonly policy: 'open' | 'registered'
}

/** Who may manage the servers, and from where. */
export interface ManagementPlan {
  /** Networks that may use SSH and read metrics. */
  readonly sources: readonly string[]
  readonly ssh_port: number
}

/** What is the same on every server. */
export interface HostSettingsPlan {
  readonly timezone: string
  readonly ntp: readonly string[]
  readonly dns: readonly string[]
  readonly users: readonly {
    readonly name: string
    /** A person that may log in, or the account that processes run as. */
    readonly kind: 'operator' | 'service'
    readonly ssh_keys: readonly string[]
  }[]
  readonly log: { readonly keep_days: number; readonly size_mb_max: number }
  readonly metrics: { readonly port: number; readonly interval_s: number }
  /** Looks, waits and watchdogs take so many times as long: for processors that are that much slower. Absent: 1. */
  readonly patience?: number
}

/** A secret that the deploy needs: its name, who makes it and which hosts get it. */
export interface SecretPlan {
  /** `cluster/authkey`, `bmc/gw1`; a file of this name in the folder of secrets. */
  readonly name: string
  readonly kind: 'password' | 'token' | 'bytes' | 'ssh-key'
  readonly length: number
  /** `generated` at the first deploy, or written there by the operator before it. */
  readonly origin: 'generated' | 'operator'
  readonly hosts: readonly string[]
}
