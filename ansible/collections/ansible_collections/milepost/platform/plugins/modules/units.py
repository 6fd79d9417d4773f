#!/usr/bin/python
"""Brings systemd units into the wanted state in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Bring many systemd units into the wanted state in one call
description:
  - Asks systemd once about all units, reloads its configuration when files changed, and does only what differs.
  - Check mode is supported; a unit whose file an earlier step would install counts as one that would be started.
author: Milepost (@milepost)
version_added: 1.0.0
options:
  started:
    description: >-
      Units to enable and start, in this order. A unit whose conditions keep it from running here
      (C(ConditionVirtualization=) and so on) counts as started.
    type: list
    elements: str
    default: []
  enabled:
    description: Units to enable only.
    type: list
    elements: str
    default: []
  disabled:
    description: Units to disable only; who starts them is not systemd.
    type: list
    elements: str
    default: []
  stopped:
    description: Units to disable and stop; they may be missing.
    type: list
    elements: str
    default: []
  restarted:
    description: Units to restart, or to start, whatever they do now.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Start the daemons
  milepost.platform.units:
    started: [example.service]
"""

RETURN = r"""
actions:
  description: What was done, as arguments of systemctl.
  type: list
  returned: always
"""

import itertools  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

PROPERTIES = 'Id,LoadState,ActiveState,NeedDaemonReload,ConditionResult,ConditionTimestampMonotonic'


def states(module, names):
    """Properties by name, in the order in which they were asked for: `systemctl show` answers in that order."""
    _status, out, _err = module.run_command(['systemctl', 'show', '--property', PROPERTIES, *names], check_rc=True)
    blocks = [dict(line.split('=', 1) for line in block.splitlines()) for block in out.strip().split('\n\n')]
    known = dict(zip(names, blocks))
    # From the files: what systemd itself remembers of them is as old as its last reload.
    there = [name for name in known if known[name]['LoadState'] != 'not-found']
    if there:
        _status, out, _err = module.run_command(['systemctl', 'is-enabled', *there])
        for name, word in zip(there, out.split()):
            known[name]['UnitFileState'] = word
    return known


# In this order, each in one call. Without a word against it systemd reads all of its configuration again after enabling.
VERBS = {
    'enable': ('--no-reload', 'enable'),
    'disable': ('--no-reload', 'disable'),
    'start': ('start',),
    'stop': ('stop',),
    'restart': ('restart',),
}


# Nothing reads the links of SysV's run levels, and each that is made has systemd read everything again, twice.
ENVIRONMENT = {'SYSTEMCTL_SKIP_SYSV': '1'}


def enabling(name, state, wanted):
    """The change of a unit's start at boot."""
    word = state.get('UnitFileState', '')
    at_boot = word in ('enabled', 'enabled-runtime', 'alias')
    fixed = word in ('static', 'indirect', 'generated', 'transient')
    if wanted and not at_boot and not fixed:
        return [('enable', name)]
    return [('disable', name)] if at_boot and not wanted else []


def starting(name, state, wanted):
    """The change of a unit's running."""
    active = state['ActiveState'] in ('active', 'activating', 'reloading')
    refused = state['ConditionTimestampMonotonic'] not in ('', '0') and state['ConditionResult'] == 'no'
    if wanted and not active and not refused:
        return [('start', name)]
    return [('stop', name)] if active and not wanted else []


def main():
    kinds = ('started', 'enabled', 'disabled', 'stopped', 'restarted')
    module = AnsibleModule(
        argument_spec={kind: {'type': 'list', 'elements': 'str', 'default': []} for kind in kinds}, supports_check_mode=True
    )
    names = [name for kind in kinds for name in module.params[kind]]
    if not names:
        module.exit_json(changed=False, actions=[])
    known = states(module, names)
    stale = any(state['NeedDaemonReload'] == 'yes' or state['LoadState'] == 'not-found' for state in known.values())
    if stale and not module.check_mode:
        module.run_command(['systemctl', 'daemon-reload'], check_rc=True)
        known = states(module, names)
    needed = module.params['started'] + module.params['enabled'] + module.params['restarted']
    missing = [name for name in needed if known[name]['LoadState'] == 'not-found']
    if missing and not module.check_mode:
        module.fail_json(msg=f"units: there is no {', '.join(missing)}; install its package or its file first", actions=[])
    actions = []
    for kind in kinds:
        for name in module.params[kind]:
            if kind == 'restarted':
                actions.append(('restart', name))
                continue
            actions += enabling(name, known[name], kind in ('started', 'enabled'))
            if kind in ('started', 'stopped'):
                actions += starting(name, known[name], kind == 'started')
    actions.sort(key=lambda action: list(VERBS).index(action[0]))
    for verb, group in itertools.groupby([] if module.check_mode else actions, key=lambda action: action[0]):
        units = [name for _verb, name in group]
        status, out, err = module.run_command(['systemctl', *VERBS[verb], *units], environ_update=ENVIRONMENT)
        if status != 0:
            text = (err or out).strip()
            log = ' '.join(f'-u {name}' for name in units)
            module.fail_json(msg=f"units: systemctl {verb} {' '.join(units)}: {text}; see journalctl {log}", actions=actions)
    module.exit_json(changed=bool(actions), actions=[' '.join(action) for action in actions])


if __name__ == '__main__':
    main()
