#!/usr/bin/python
"""Remote half of milepost.platform.files: compares and replaces files, folders and links of this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Bring many files, folders and links into the wanted state in one call
description:
  - Compares content, mode and owner of each entry and replaces what differs, atomically.
  - Check mode and diff are supported; secret entries show no content.
author: Milepost (@milepost)
version_added: 1.0.0
options:
  files:
    description: >-
      Entries in order. Each has I(dest) and one of I(content) (text), I(template) (name of a template of the role, with
      I(vars)), I(src) (name of a file of the role or an absolute path here), I(link) (target), I(directory) (true) or
      I(absent) (true); further I(mode), I(owner), I(group), I(secret) (no diff) and I(validate) (a command with %s).
    type: list
    elements: dict
    required: true
  purge:
    description: >-
      Folders in which only the listed entries and those of I(keep) may be; what else matches I(match) (a glob) is removed.
    type: list
    elements: dict
    default: []
  owner:
    description: Owner of entries that name none.
    type: str
    default: root
  group:
    description: Group of entries that name none.
    type: str
    default: root
"""

EXAMPLES = r"""
- name: Install the settings
  milepost.platform.files:
    files:
      - {dest: /etc/example, directory: true}
      - {dest: /etc/example/main.conf, template: main.conf.j2}
"""

RETURN = r"""
changed_files:
  description: Paths that were changed, removed ones included.
  type: list
  returned: always
"""

import base64  # noqa: E402
import fnmatch  # noqa: E402
import grp  # noqa: E402
import os  # noqa: E402
import pwd  # noqa: E402
import shutil  # noqa: E402
import stat  # noqa: E402
import tempfile  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

DEFAULT_MODE_FILE = '0644'
DEFAULT_MODE_DIRECTORY = '0755'


def uid_of(name):
    return int(name) if str(name).isdigit() else pwd.getpwnam(name).pw_uid


def gid_of(name):
    return int(name) if str(name).isdigit() else grp.getgrnam(name).gr_gid


def kind_of(path):
    """file, directory, link or absent: what is there, links not followed."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 'absent'
    if stat.S_ISLNK(mode):
        return 'link'
    return 'directory' if stat.S_ISDIR(mode) else 'file'


def text_of(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f'({len(data)} bytes)\n'


class Host:
    """This host as the entries want it."""

    def __init__(self, module):
        self.module = module
        self.changed = []
        self.diffs = []

    def fail(self, text):
        self.module.fail_json(msg=text, changed_files=self.changed)

    def note(self, dest, before='', after=''):
        self.changed.append(dest)
        self.diffs.append({'before_header': dest, 'after_header': dest, 'before': before, 'after': after})

    def entry(self, entry):
        dest = entry['dest']
        if not os.path.isabs(dest):
            self.fail(f'files: {dest} is not an absolute path')
        if entry.get('absent'):
            self.absent(dest)
        elif entry.get('link'):
            self.link(dest, entry['link'])
        elif entry.get('directory'):
            self.directory(dest, entry)
        else:
            self.file(dest, entry)

    def absent(self, dest):
        kind = kind_of(dest)
        if kind == 'absent':
            return
        self.note(dest, before=f'{kind}\n')
        if self.module.check_mode:
            return
        if kind == 'directory':
            shutil.rmtree(dest)
        else:
            os.unlink(dest)

    def link(self, dest, target):
        before = os.readlink(dest) if kind_of(dest) == 'link' else kind_of(dest)
        if before == target:
            return
        if before == 'directory':
            self.fail(f'files: {dest} is a folder where a link should be; move it away')
        self.note(dest, before=f'{before}\n', after=f'{target}\n')
        if self.module.check_mode:
            return
        new = f'{dest}.new'
        if kind_of(new) != 'absent':
            os.unlink(new)
        os.symlink(target, new)
        os.rename(new, dest)

    def owners(self, entry):
        """uid and gid; in check mode an account that an earlier step would make may be missing."""
        params = self.module.params
        try:
            return uid_of(entry.get('owner') or params['owner']), gid_of(entry.get('group') or params['group'])
        except KeyError as error:
            if self.module.check_mode:
                return None
            return self.fail(f"files: {entry['dest']}: there is no user or group {error.args[0]}")

    def attributes(self, path, entry, mode):
        """Sets mode and owner of what is there. Gives what differed as text."""
        have = os.lstat(path)
        owners = self.owners(entry)
        differing = []
        if stat.S_IMODE(have.st_mode) != mode:
            differing.append(f'mode {stat.S_IMODE(have.st_mode):04o}')
        if owners and (have.st_uid, have.st_gid) != owners:
            differing.append(f'owner {have.st_uid}:{have.st_gid}')
        if differing and not self.module.check_mode:
            os.chown(path, *owners)
            os.chmod(path, mode)
        return ', '.join(differing)

    def directory(self, dest, entry):
        mode = int(str(entry.get('mode') or DEFAULT_MODE_DIRECTORY), 8)
        kind = kind_of(dest)
        if kind == 'link' and os.path.isdir(dest):
            return
        if kind not in ('absent', 'directory'):
            self.fail(f'files: {dest} is a {kind} where a folder should be; move it away')
        if kind == 'absent':
            self.note(dest, after='directory\n')
            if self.module.check_mode:
                return
            os.makedirs(dest)
            self.attributes(dest, entry, mode)
            return
        differing = self.attributes(dest, entry, mode)
        if differing:
            self.note(dest, before=f'{differing}\n')

    def file(self, dest, entry):
        mode = int(str(entry.get('mode') or DEFAULT_MODE_FILE), 8)
        wanted = base64.b64decode(entry['data'])
        kind = kind_of(dest)
        if kind == 'directory':
            self.fail(f'files: {dest} is a folder where a file should be; move it away')
        before = b''
        if kind == 'file':
            with open(dest, 'rb') as file:
                before = file.read()
        if kind == 'file' and before == wanted:
            differing = self.attributes(dest, entry, mode)
            if differing:
                self.note(dest, before=f'{differing}\n')
            return
        if entry.get('secret'):
            self.note(dest, before='(secret)\n', after='(another secret)\n')
        else:
            self.note(dest, before=text_of(before), after=text_of(wanted))
        self.replace(dest, entry, wanted, mode)

    def replace(self, dest, entry, wanted, mode):
        folder = os.path.dirname(dest)
        if self.module.check_mode and not (entry.get('validate') and os.path.isdir(folder)):
            return
        if not os.path.isdir(folder):
            self.fail(f'files: {dest}: there is no folder {folder}; list it before')
        # What is validated or secret lies beside its place, never in a folder that others read.
        handle, new = tempfile.mkstemp(prefix='.milepost-', dir=folder)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            self.validate(dest, entry, new)
            if self.module.check_mode:
                return
            os.chown(new, *self.owners(entry))
            os.chmod(new, mode)
            os.rename(new, dest)
            new = None
        finally:
            if new is not None:
                os.unlink(new)

    def validate(self, dest, entry, new):
        command = entry.get('validate')
        if not command:
            return
        status, out, err = self.module.run_command(command.replace('%s', new))
        if status != 0:
            self.fail(f'files: {dest} is not valid, the old one stays: {(err or out).strip()}')

    def purge(self, folder, match, kept):
        if not os.path.isdir(folder):
            return
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if fnmatch.fnmatch(name, match) and path not in kept:
                self.absent(path)


def main():
    module = AnsibleModule(
        argument_spec={
            'files': {'type': 'list', 'elements': 'dict', 'required': True, 'no_log': False},
            'purge': {'type': 'list', 'elements': 'dict', 'default': []},
            'owner': {'type': 'str', 'default': 'root'},
            'group': {'type': 'str', 'default': 'root'},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    entries = module.params['files']
    for entry in entries:
        host.entry(entry)
    kept = {entry['dest'] for entry in entries if not entry.get('absent')}
    for rule in module.params['purge']:
        host.purge(rule['folder'], rule.get('match', '*'), kept | set(rule.get('keep', [])))
    module.exit_json(changed=bool(host.changed), changed_files=host.changed, diff=host.diffs)


if __name__ == '__main__':
    main()
