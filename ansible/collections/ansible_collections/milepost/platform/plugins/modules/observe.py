#!/usr/bin/python
"""What the roles have to know of a host, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Observe what the roles have to know of a host
description:
  - Operating system, installed packages, network devices, drives, memory; nothing else, for a fact costs time on each deploy.
author: Milepost (@milepost)
version_added: 1.0.0
options: {}
"""

EXAMPLES = r"""
- name: Observe the host
  milepost.platform.observe:
"""

RETURN = r"""
ansible_facts:
  description: The facts milepost_os, milepost_installed, milepost_devices, milepost_drives, milepost_memory_mb, milepost_free_mb.
  type: dict
  returned: always
"""

import os  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


def read(path, default=''):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().strip()
    except OSError:
        return default


def operating_system():
    lines = (line.partition('=') for line in read('/etc/os-release').splitlines())
    known = {key: value.strip('"') for key, _, value in lines}
    return f"{known.get('ID', '')} {known.get('VERSION_ID', '')}"


def packages(module):
    _status, out, _err = module.run_command(['dpkg-query', '-W', '-f', '${db:Status-Abbrev}${Package}\n'], check_rc=True)
    return sorted(line[3:] for line in out.splitlines() if line.startswith('ii '))


def devices():
    folder = '/sys/class/net'
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {name: read(f'{folder}/{name}/address') for name in names}


def drives(module):
    """Whole drives with their serials; a container sees none."""
    status, out, _err = module.run_command(['lsblk', '--nodeps', '--pairs', '--bytes', '--output', 'NAME,TYPE,SERIAL,SIZE'])
    found = []
    for line in out.splitlines() if status == 0 else []:
        fields = dict(part.split('=', 1) for part in line.split() if '=' in part)
        fields = {key: value.strip('"') for key, value in fields.items()}
        if fields.get('TYPE') == 'disk' and fields.get('SERIAL'):
            found.append({'name': fields['NAME'], 'serial': fields['SERIAL'], 'bytes': int(fields['SIZE'] or 0)})
    return found


def memory_mb():
    lines = dict(line.split(':', 1) for line in read('/proc/meminfo').splitlines() if ':' in line)
    return int(lines.get('MemTotal', '0 kB').split()[0]) // 1024


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    disk = os.statvfs('/var')
    module.exit_json(
        changed=False,
        ansible_facts={
            'milepost_os': operating_system(),
            'milepost_installed': packages(module),
            'milepost_devices': devices(),
            'milepost_drives': drives(module),
            'milepost_memory_mb': memory_mb(),
            'milepost_free_mb': disk.f_bavail * disk.f_frsize // 2**20,
        },
    )


if __name__ == '__main__':
    main()
